"""The simulated C-arm's own ray geometry as a judge: every form, position, table, zoom, crop, turn and flip."""

import numpy as np
import pytest

from guidance.config import GeometrySettings
from guidance.geometry.trust import judge
from guidance.messages import CbctVolume, FluoroFrame, GeometryState, TransformSample, VolumeState
from simulators.carm_metadata import GEOMETRY_FORMS, TABLE_FORMS, Technique, Telling, frame_metadata, frame_transforms
from simulators.gantry import PATIENT_POSITIONS, Gantry

UID = "1.2.826.0.1.7"
TECHNIQUE = Technique(
    kvp=70.0, tube_current_ma=10.0, pulse_width_ms=5.0, air_kerma_mgy=0.1, dose_area_product_gycm2=0.2
)
# Numbers travel as decimal text of 12 digits in the metadata.
WORST_PX = 1e-4


def random_gantry(rng: np.random.Generator, position: str, angles: str) -> Gantry:
    zoom = float(rng.choice((1.0, 1.5, 2.0)))
    rows, columns = int(rng.integers(500, 1100)), int(rng.integers(500, 1100))
    left, top = int(rng.integers(0, 200)), int(rng.integers(0, 200))
    crop = (left, top, columns - left - int(rng.integers(0, 200)), rows - top - int(rng.integers(0, 200)))
    uniform = rng.uniform
    return Gantry(
        primary_deg=float(uniform(-180, 180)),
        secondary_deg=float(uniform(-60, 60)),
        detector_rotation_deg=float(uniform(-180, 180)),
        angles=angles,
        source_to_detector_mm=float(uniform(1000, 1300)),
        source_to_isocenter_mm=float(uniform(700, 820)),
        detector_rows=rows,
        detector_columns=columns,
        pitch_row_mm=float(uniform(0.2, 0.4)) / zoom,
        pitch_column_mm=float(uniform(0.2, 0.4)) / zoom,
        crop_px=crop if rng.random() < 0.5 else None,
        fov_rotation_deg=int(rng.choice((0, 90, 180, 270))),
        fov_flip=bool(rng.random() < 0.5),
        isocenter_lps_mm=tuple(uniform(-60, 60, 3).tolist()),
        table_mm=tuple(uniform(-90, 90, 3).tolist()),
        table_at_cbct_mm=tuple(uniform(-90, 90, 3).tolist()),
        patient_position=position,
    )


def verdict_of(gantry: Gantry, telling: Telling):
    middle = np.asarray(gantry.isocenter_lps_mm)
    volume = CbctVolume(
        id="v",
        series_instance_uid="1",
        frame_of_reference_uid=UID,
        patient_position=gantry.patient_position,
        state=VolumeState.READY,
        shape_kji=(200, 200, 200),
        affine_lps_from_ijk=(
            1,
            0,
            0,
            middle[0] - 100,
            0,
            1,
            0,
            middle[1] - 100,
            0,
            0,
            1,
            middle[2] - 100,
            0,
            0,
            0,
            1.0,
        ),
        table_at_cbct_mm=gantry.table_at_cbct_mm,
    )
    frame = FluoroFrame(
        device="FluoroB",
        pixels=np.zeros(gantry.size, np.uint16),
        timestamp_igtl=5 << 32,
        received_ns=10**9,
        metadata=frame_metadata(gantry, telling, TECHNIQUE, frame_number=3, live=True),
        pixel_pitch_mm=gantry.picture_pitch_mm,
    )
    transforms = [
        TransformSample(name=name, matrix=matrix, timestamp_igtl=5 << 32, received_ns=10**9)
        for name, matrix in frame_transforms(gantry, "B").items()
        if telling.geometry == "transforms"
    ]
    return judge(frame, volume=volume, settings=GeometrySettings(), transforms=transforms)


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
@pytest.mark.parametrize("form", [form for form in GEOMETRY_FORMS if form != "none"])
def test_what_the_gantry_shows_is_where_paths_go(form, position):
    rng = np.random.default_rng([PATIENT_POSITIONS.index(position), len(form)])
    for case in range(12):
        gantry = random_gantry(rng, position, "equipment" if form == "isocenter" else "patient")
        telling = Telling(geometry=form, table=TABLE_FORMS[case % 3], frame_of_reference_uid=UID)
        found = verdict_of(gantry, telling)
        assert found.state is GeometryState.TRUSTED, (found, gantry)
        points = np.asarray(gantry.isocenter_now_lps_mm()) + rng.uniform(-90, 90, (20, 3))
        homogeneous = np.column_stack((points, np.ones(20))) @ np.array(found.pixel_from_patient).reshape(3, 4).T
        shown = gantry.project(points)
        np.testing.assert_allclose(homogeneous[:, :2] / homogeneous[:, 2:], shown[:, :2], atol=WORST_PX)
        np.testing.assert_allclose(homogeneous[:, 2], shown[:, 2], atol=1e-5)


def test_a_gantry_that_tells_nothing_is_absent():
    found = verdict_of(Gantry(), Telling(geometry="none", frame_of_reference_uid=UID))
    assert found.state is GeometryState.ABSENT
