"""One frame against the volume: what is found, what is told apart, and what nothing is said about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from guidance.config import ConsistencySettings
from guidance.consistency import ConsistencyTrack, FrameMeasurer, Measurement, WatchVolume, observe, watch_volume
from guidance.consistency.displacement import displacement_of
from guidance.messages import F64, CheckState, ImageCheck
from guidance.registration.values import motion_vector, small_motion
from simulators.instruments import Cylinder
from simulators.scene import Exposure
from tests.helpers.watched_scene import (
    SIZE,
    VIEWS,
    drawn_pictures,
    gantry,
    matrix,
    patient,
    pivot,
    taken,
    usual_picture,
    watched,
)

AROUND_MM = 30.0 * np.vstack((np.zeros(3), np.eye(3), -np.eye(3)))


def measured(picture: np.ndarray, told: F64, volume: WatchVolume | None = None, **how: Any) -> Measurement:
    return FrameMeasurer(volume or watched()).measure(np.ascontiguousarray(picture), told, **how)


def judged(measurement: Measurement) -> ImageCheck:
    """The first frame of a stream."""
    settings = ConsistencySettings()
    return observe(ConsistencyTrack(), measurement, received_ns=10**9, moved=True, settings=settings).check


@pytest.mark.parametrize("view", VIEWS)
def test_a_true_picture_agrees(view: str) -> None:
    found = measured(usual_picture(view), matrix(view))
    assert judged(found).state is CheckState.AGREES
    assert found.residual_mm is not None
    assert found.residual_mm < 0.4
    assert found.similarity is not None
    assert found.similarity > 0.6
    assert found.arranged is None


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "vector",
    [(1.0, 0.5, -0.5, 0.3, 0.2, -0.3), (2.0, -1.0, 2.5, 0.0, 0.0, 0.0), (6.0, 5.0, -6.0, 1.0, -1.0, 1.0)],
)
def test_what_is_seen_off_is_measured(view: str, vector: tuple[float, ...]) -> None:
    about, told = pivot(), matrix(view)
    truth = small_motion(np.array(vector), about)
    found = measured(taken(view, truth), told)
    assert found.offset is not None
    assert found.residual_mm is not None
    left = motion_vector(small_motion(np.array(found.offset), about) @ np.linalg.inv(truth), about)
    off = displacement_of(left, np.zeros((6, 6)), told, about, about + AROUND_MM)
    assert off.mm < 0.5
    true = displacement_of(np.array(vector), np.zeros((6, 6)), told, about, about + AROUND_MM)
    assert found.residual_mm == pytest.approx(true.mm, abs=0.4)
    focal = 1200.0 / (0.37 * 1024 / SIZE)
    assert found.residual_px == pytest.approx(found.residual_mm * focal / 750.0, rel=0.1)


def test_ten_millimetres_at_once_contradict_in_that_frame() -> None:
    for view in VIEWS:
        across = np.linalg.svd(matrix(view)[2:3, :3])[2][1]  # along the picture
        motion = small_motion(np.concatenate((10.0 * across, np.zeros(3))), pivot())
        check = judged(measured(taken(view, motion), matrix(view)))
        assert check.state is CheckState.CONTRADICTS
        assert check.raw_mm is not None
        assert check.raw_mm == pytest.approx(10.0, abs=0.7)


def test_three_millimetres_contradict_in_that_frame() -> None:
    across = np.linalg.svd(matrix()[2:3, :3])[2][1]
    motion = small_motion(np.concatenate((3.0 * across, np.zeros(3))), pivot())
    assert judged(measured(taken(motion=motion), matrix())).state is CheckState.CONTRADICTS


ARRANGED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda picture: picture[:, ::-1],
    "upside_down": lambda picture: picture[::-1],
    "turned_180": lambda picture: picture[::-1, ::-1],
    "turned_90": lambda picture: np.rot90(picture, -1),
    "turned_270": lambda picture: np.rot90(picture, 1),
    "transposed": lambda picture: picture.T,
    "transverse": lambda picture: picture[::-1, ::-1].T,
}


@pytest.mark.parametrize("name", ARRANGED)
@pytest.mark.parametrize("view", ["oblique", "tilted"])
def test_other_arrangements_are_named(name: str, view: str) -> None:
    found = measured(ARRANGED[name](usual_picture(view)), matrix(view))
    assert found.arranged == name
    check = judged(found)
    assert check.state is CheckState.CONTRADICTS
    assert check.code == {"m": "picture_mirrored", "u": "picture_mirrored"}.get(
        name[0], "picture_turned" if name.startswith("turned") else "picture_transposed"
    )
    assert not check.registration_offered


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("factor", [0.9, 0.98, 1.02, 1.1])
def test_another_distance_to_the_detector_is_found_by_its_scale(view: str, factor: float) -> None:
    told = replace(gantry(view), source_to_detector_mm=1200.0 * factor).pixel_from_patient()
    found = measured(usual_picture(view), told)
    check = judged(found)
    if abs(factor - 1.0) > 0.05:
        assert check.state is CheckState.CONTRADICTS
    else:
        assert found.magnified is not None
        assert found.magnified[0] == pytest.approx(1.0 / factor, abs=0.008)


@pytest.mark.parametrize("zoom", [0.5, 0.75, 1.3, 1.6])
def test_the_spacing_of_another_zoom_contradicts(zoom: float) -> None:
    told = gantry("tilted").zoomed(zoom).pixel_from_patient()
    assert judged(measured(usual_picture("tilted"), told)).state is CheckState.CONTRADICTS


@pytest.mark.parametrize("view", VIEWS)
def test_a_volume_turned_about_the_isocentre_is_seen_where_paths_are(view: str) -> None:
    about = np.array(gantry().isocenter_lps_mm)
    axis = np.array((0.6, 0.5, 0.62))
    turned = small_motion(np.concatenate((np.zeros(3), 5.0 * axis)), about)
    ends = about + np.array(((60.0, 0.0, 10.0), (-60.0, 0.0, 10.0), (0.0, 40.0, 30.0), (0.0, -40.0, -20.0)))
    found = measured(taken(view, turned), matrix(view), points_lps_mm=ends)
    assert judged(found).state in (CheckState.WARNING, CheckState.CONTRADICTS)


def test_another_patient_contradicts() -> None:
    volume = watched()
    stretched = volume.affine() @ np.diag((1.0, -1.12, 0.85, 1.0))
    stretched[:3, 3] = -stretched[:3, :3] @ ((np.array(volume.shape_kji[::-1]) - 1) / 2.0) + np.array(
        (12.0, 5.0, -20.0)
    )
    other = WatchVolume(
        voxels=volume.voxels, shape_kji=volume.shape_kji, affine_lps_from_ijk=tuple(stretched.ravel().tolist())
    )
    for view in VIEWS:
        check = judged(measured(usual_picture(view), matrix(view), other))
        assert check.state is CheckState.CONTRADICTS


@pytest.mark.parametrize(("name", "picture"), drawn_pictures().items())
def test_nothing_is_said_of_what_is_no_x_ray_picture(name: str, picture: np.ndarray) -> None:
    for view in ("pa", "lateral"):
        assert judged(measured(picture, matrix(view))).state is CheckState.CANNOT_TELL, name


def phantoms() -> dict[str, np.ndarray]:
    k, j, i = np.indices((64, 64, 64)) - 31.5
    ball = np.where(i**2 + j**2 + k**2 < 64.0, 800, 0)
    rods = np.where((i - 8) ** 2 + j**2 < 4.0, 1200, -1000)
    noise = np.random.default_rng(1).integers(-1000, -900, (64, 64, 64))
    return {
        "air": np.full((64, 64, 64), -1000),
        "water": np.zeros((64, 64, 64)),
        "bone all over": np.full((64, 64, 64), 1000),
        "ball": ball,
        "rods": rods,
        "noise": noise,
    }


@pytest.mark.parametrize(("name", "voxels"), phantoms().items())
@pytest.mark.parametrize("spacing_mm", [0.5, 2.0])
def test_nothing_is_said_with_a_phantom_and_drawn_pictures(name: str, voxels: np.ndarray, spacing_mm: float) -> None:
    affine = np.diag((spacing_mm, spacing_mm, spacing_mm, 1.0))
    affine[:3, 3] = np.array(gantry().isocenter_lps_mm) - 31.5 * spacing_mm
    volume = watch_volume(voxels.astype(np.int16), affine)
    drawn = drawn_pictures(256)
    told = replace(gantry("pa"), detector_rows=256, detector_columns=256).pixel_from_patient()
    for picture in ("flat", "noise", "ramp", "letter", "noisy letter", "blobs", "squares"):
        assert judged(measured(drawn[picture], told, volume)).state is CheckState.CANNOT_TELL, (name, picture)


TYPES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]] = {
    "uint8": (lambda p: (p >> 8).astype(np.uint8), {}),
    "int8": (lambda p: ((p >> 8).astype(np.int16) - 128).astype(np.int8), {}),
    "int16": (lambda p: (p >> 1).astype(np.int16), {}),
    "float32": (lambda p: p.astype(np.float32) * np.float32(1e-4), {}),
    "dim": (lambda p: p // 3, {}),
    "logarithm": (lambda p: np.log(p.astype(np.float32) + 1.0), {"intensity": "LOG"}),
    "inverted": (lambda p: np.uint16(65535) - p, {"sign": -1}),
    "inverted log": (
        lambda p: (60000.0 - 5000.0 * np.log(p.astype(np.float32) + 1.0)).astype(np.uint16),
        {"intensity": "LOG", "sign": -1},
    ),
    "for display": (
        lambda p: (255.0 * np.clip(p / 22000.0, 0.0, 1.0) ** 0.6).astype(np.uint8),
        {"intensity": "DISP"},
    ),
}


@pytest.mark.parametrize("name", TYPES)
def test_every_type_and_scale_of_pixels_says_the_same(name: str) -> None:
    change, how = TYPES[name]
    found = measured(change(usual_picture()), matrix(), **how)
    assert judged(found).state is CheckState.AGREES
    assert found.residual_mm is not None
    assert found.residual_mm < 0.5


def test_light_and_dark_exchanged_never_agrees() -> None:
    assert judged(measured(np.uint16(65535) - usual_picture(), matrix())).state is not CheckState.AGREES


def test_a_collimator_told_or_only_seen_hides_and_does_not_mislead() -> None:
    picture = usual_picture().copy()
    picture[:70] = picture[-60:] = 0
    picture[:, :80] = picture[:, -50:] = 0
    told = (80, 70, SIZE - 50, SIZE - 60)
    for blades in (None, told):
        found = measured(picture, matrix(), collimator_px=blades)
        assert judged(found).state is CheckState.AGREES
        assert found.residual_mm is not None
        assert found.residual_mm < 0.5


def test_needles_across_the_picture_raise_nothing() -> None:
    middle = pivot()
    needles = tuple(
        Cylinder(
            start_lps_mm=(float(middle[0] + x), float(middle[1] - 60.0), float(middle[2] + z)),
            end_lps_mm=(float(middle[0] + 0.3 * x), float(middle[1] + 60.0), float(middle[2] + 0.2 * z)),
            diameter_mm=diameter,
        )
        for x, z, diameter in ((-40.0, 10.0, 5.0), (-10.0, -20.0, 4.0), (20.0, 25.0, 8.0), (45.0, -5.0, 3.0))
    )
    for view in VIEWS:
        found = measured(taken(view, instruments=needles), matrix(view))
        assert judged(found).state is CheckState.AGREES, view
        assert found.residual_mm is not None
        assert found.residual_mm < 0.5


def test_low_dose_raises_nothing() -> None:
    dim = Exposure(dose_photons=15.0 * (1024 / SIZE) ** 2)
    for view in VIEWS:
        assert judged(measured(taken(view, exposure=dim), matrix(view))).state is CheckState.AGREES


@pytest.mark.parametrize("shape", [(1, 1), (10, 4000), (20, 20), (129, 127), (97, 300), (2050, 2050)])
def test_any_size_is_taken(shape: tuple[int, int]) -> None:
    found = measured(np.random.default_rng(1).integers(0, 60000, shape).astype(np.uint16), matrix())
    assert judged(found).state is CheckState.CANNOT_TELL


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e30])
def test_a_matrix_that_is_none_is_taken(value: float) -> None:
    told = matrix().copy()
    told[1, 2] = value
    check = judged(measured(usual_picture(), told))
    assert check.state in (CheckState.CANNOT_TELL, CheckState.CONTRADICTS)
    assert judged(measured(usual_picture(), np.zeros((3, 4)))).state is CheckState.CANNOT_TELL


def test_pixels_that_are_not_numbers_are_left_out() -> None:
    picture = usual_picture().astype(np.float32)
    picture[::37, ::41] = np.nan
    picture[5:40, 300:340] = np.inf
    assert judged(measured(picture, matrix())).state is CheckState.AGREES
    picture[:] = np.nan
    assert judged(measured(picture, matrix())).state is CheckState.CANNOT_TELL


def test_a_measurer_follows_a_patient_that_moves_away_and_comes_back() -> None:
    measurer, told, about = FrameMeasurer(watched()), matrix(), pivot()
    across = np.linalg.svd(told[2:3, :3])[2][1]
    for n, off_mm in enumerate((0.0, 1.5, 3.0, 6.0, 12.0, 6.0, 0.0)):
        motion = small_motion(np.concatenate((off_mm * across, np.zeros(3))), about)
        found = measurer.measure(taken(motion=motion, seed=n), told)
        assert found.residual_mm is not None
        assert found.residual_mm == pytest.approx(off_mm, abs=0.5)


@pytest.mark.parametrize("view", VIEWS)
def test_a_picture_that_becomes_mirrored_in_mid_stream_is_named_and_so_is_its_return(view: str) -> None:
    measurer, told, settings, track = FrameMeasurer(watched()), matrix(view), ConsistencySettings(), ConsistencyTrack()
    true = usual_picture(view)
    codes = []
    for n, picture in enumerate([true] * 2 + [np.ascontiguousarray(true[:, ::-1])] * 3 + [true] * 2):
        found = measurer.measure(picture, told)
        track = observe(track, found, received_ns=(n + 10) * 10**8, moved=n == 0, settings=settings)
        codes.append(track.check.code)
    assert codes == ["", "", *["picture_mirrored"] * 3, "", ""]


def test_the_deviation_that_is_told_is_the_deviation_that_is_there() -> None:
    about, told, ratios = pivot(), matrix("tilted"), []
    rng = np.random.default_rng(8)
    for n in range(6):
        vector = np.concatenate((rng.normal(0.0, 0.7, 3), rng.normal(0.0, 0.3, 3)))
        truth = small_motion(vector, about)
        found = measured(taken("tilted", truth, seed=n), told)
        assert found.offset is not None
        assert found.sigma_mm is not None
        left = motion_vector(small_motion(np.array(found.offset), about) @ np.linalg.inv(truth), about)
        off = displacement_of(left, np.zeros((6, 6)), told, about, about + AROUND_MM)
        ratios.append(off.mm / np.sqrt(2.0) / np.hypot(found.sigma_mm, 0.15))
    assert np.sqrt(np.mean(np.square(ratios))) < 2.0


def test_the_volume_travels_as_bytes_and_has_no_wrong_edges() -> None:
    volume = watched()
    again = WatchVolume(
        voxels=bytes(volume.voxels), shape_kji=volume.shape_kji, affine_lps_from_ijk=volume.affine_lps_from_ijk
    )
    np.testing.assert_array_equal(again.array(), volume.array())
    faces = volume.array()
    assert max(faces[0].max(), faces[-1].max(), faces[:, 0].max(), faces[:, :, -1].max()) < 0.2 * faces.max()
    whole = watch_volume(patient().voxels_hu.astype(np.float32), patient().affine_lps_from_ijk)
    assert whole.shape_kji == patient().voxels_hu.shape
    with pytest.raises(ValueError, match="invertible"):
        watch_volume(patient().voxels_hu, np.zeros((4, 4)))
    with pytest.raises(ValueError, match="three dimensions"):
        watch_volume(np.zeros((3, 3)), np.eye(4))
