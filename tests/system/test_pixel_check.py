"""Pins that the simulator puts into the patient, and paths planned along them, fall on the same pixels of the overlay.

The picture and the overlay come by different geometries (`simulators.gantry` and `guidance.geometry` share no code) and
are compared as a person would: where the pin's shadow is, and where the path is drawn.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest

from guidance.case import Case, create_path, drawable_paths, volume_changed
from guidance.config import OverlaySettings
from guidance.kernels import compose_frame, frame_buffers
from guidance.kernels.drr import ProjectionVolume
from guidance.messages import CbctVolume, FluoroFrame, TransformSample, VolumeState
from guidance.overlay.scene import frame_scene
from guidance.session import DrawFrame, FrameArrived, Session, TransformArrived, step
from simulators.carm_metadata import Technique, Telling, frame_metadata, frame_transforms
from simulators.gantry import PATIENT_POSITIONS, Gantry
from simulators.instruments import Cylinder
from simulators.scene import Exposure, Scene

POSES = 200
FORMS = ("angles", "matrix", "isocenter", "transforms")
COLOR = (255, 0, 255)
FRAME_UID = "1.2.3"
_TECHNIQUE = Technique(kvp=80, tube_current_ma=20, pulse_width_ms=8, air_kerma_mgy=0, dose_area_product_gycm2=0)


@dataclass(frozen=True)
class Pose:
    """One random arrangement: C-arm, patient on the table, pin in the patient."""

    gantry: Gantry
    form: str
    pin: Cylinder


def _poses() -> list[Pose]:
    rng = np.random.default_rng(20)
    found: list[Pose] = []
    forms, positions = itertools.cycle(FORMS), itertools.cycle(PATIENT_POSITIONS)
    while len(found) < POSES:
        form = next(forms)
        gantry = Gantry(
            angles="equipment" if form == "isocenter" else "patient",
            primary_deg=round(float(rng.uniform(-180, 180)), 2),
            secondary_deg=round(float(rng.uniform(-45, 45)), 2),
            detector_rotation_deg=round(float(rng.uniform(-90, 90)), 1),
            source_to_detector_mm=float(rng.uniform(1000, 1300)),
            source_to_isocenter_mm=float(rng.uniform(700, 800)),
            fov_rotation_deg=int(rng.choice([0, 90, 180, 270])),
            fov_flip=bool(rng.integers(2)),
            isocenter_lps_mm=tuple(rng.uniform(-20, 20, 3)),
            table_mm=tuple(rng.uniform(-15, 15, 3)),
            table_at_cbct_mm=tuple(rng.uniform(-15, 15, 3)),
            patient_position=next(positions),
            crop_px=(int(rng.integers(0, 80)), int(rng.integers(0, 80)), 900, 860),
        ).zoomed(float(rng.uniform(0.9, 1.6)))
        center = rng.uniform(-15, 15, 3)
        half = rng.normal(size=3)
        half *= rng.uniform(15, 30) / np.linalg.norm(half)
        pin = Cylinder(
            start_lps_mm=tuple(center + half), end_lps_mm=tuple(center - half), diameter_mm=float(rng.uniform(2.0, 7.5))
        )
        ends = gantry.project(np.array([pin.start_lps_mm, pin.end_lps_mm]))[:, :2]
        rows, columns = gantry.size
        inside = np.all(ends > 40) and np.all(ends < np.array([columns, rows]) - 40)
        if inside and np.linalg.norm(ends[1] - ends[0]) > 6 * _radius_px(gantry, pin):
            found.append(Pose(gantry, form, pin))
    return found


def _radius_px(gantry: Gantry, pin: Cylinder) -> float:
    focal_px = float(np.linalg.norm(gantry.pixel_from_patient()[0, :3]))
    return pin.diameter_mm / 2 * focal_px / gantry.source_to_isocenter_mm


def _water(edge: int = 24, spacing_mm: float = 4.0) -> ProjectionVolume:
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = -(edge - 1) / 2 * spacing_mm
    return ProjectionVolume(np.zeros((edge, edge, edge), np.int16), affine)


def _case(pose: Pose) -> Case:
    volume = CbctVolume(
        id="v",
        series_instance_uid="1.2",
        study_instance_uid="1.3",
        patient_id="P",
        frame_of_reference_uid=FRAME_UID,
        patient_position=pose.gantry.patient_position,
        state=VolumeState.READY,
        shape_kji=(24, 24, 24),
        affine_lps_from_ijk=(4.0, 0, 0, -46.0, 0, 4.0, 0, -46.0, 0, 0, 4.0, -46.0, 0, 0, 0, 1.0),
    )
    case, _ = create_path(
        volume_changed(Case(), volume),
        {
            "entry_lps_mm": list(pose.pin.start_lps_mm),
            "target_lps_mm": list(pose.pin.end_lps_mm),
            "diameter_mm": pose.pin.diameter_mm,
            "color": "#ff00ff",
            "label": "pin",
        },
    )
    return case


def _drawn(pose: Pose, picture: Any) -> tuple[DrawFrame, Any]:
    """The overlay layer that the server draws on the picture, and what it knew."""
    telling = Telling(geometry=pose.form, frame_of_reference_uid=FRAME_UID)
    metadata = frame_metadata(pose.gantry, telling, _TECHNIQUE, frame_number=1, live=True)
    session = Session(case=_case(pose))
    stamp = 1_700_000_000 << 32
    if pose.form == "transforms":
        for name, matrix in frame_transforms(pose.gantry).items():
            sample = TransformSample(name=name, matrix=matrix, timestamp_igtl=stamp, received_ns=1, connection_id=1)
            session, _ = step(session, TransformArrived(sample), 1)
    frame = FluoroFrame(
        device="Fluoro",
        pixels=picture,
        timestamp_igtl=stamp,
        received_ns=2,
        metadata=metadata,
        pixel_pitch_mm=pose.gantry.picture_pitch_mm,
        connection_id=1,
        pixels_crc64=1,
    )
    _, effects = step(session, FrameArrived(frame), 2)
    draw = next(effect for effect in effects if isinstance(effect, DrawFrame))
    assert draw.track.verdict.state.value == "trusted", draw.track.verdict
    scene = frame_scene(draw.track, drawable_paths(session.case), OverlaySettings(depth_tick_mm=1000.0), age_ms=0.0)
    buffers = frame_buffers(*picture.shape)
    compose_frame(
        picture,
        0.0,
        65535.0,
        scene.strokes,
        scene.sprites,
        scene.sprite_table,
        buffers.rgb,
        buffers.layer,
        buffers.dirty,
    )
    return draw, buffers.layer


def _profiles(image: Any, start: Any, end: Any, radius_px: float) -> tuple[Any, Any]:
    """Values across the line start-end at 21 places clear of the marks at its ends: (places, across), and offsets."""
    length = np.linalg.norm(end - start)
    along = (end - start) / length
    across = np.array([-along[1], along[0]])
    clear = (1.4 * radius_px + 10.0) / length
    places = start + np.linspace(clear, 1.0 - clear, 21)[:, None] * (end - start)
    offsets = np.arange(-1.3 * radius_px - 4.0, 1.3 * radius_px + 4.01, 0.1)
    uv = (places[:, None, :] + offsets[None, :, None] * across).astype(np.float32)
    return cv2.remap(image.astype(np.float32), uv[..., 0], uv[..., 1], cv2.INTER_LINEAR), offsets


def _centroids(profiles: Any, offsets: Any) -> Any:
    weights = profiles - profiles.min(axis=1, keepdims=True)
    return (weights * offsets).sum(axis=1) / weights.sum(axis=1)


def test_two_hundred_poses_coincide() -> None:
    scene_volume = _water()
    exposure = Exposure()
    apart_px: list[float] = []
    ends_px: list[float] = []
    for pose in _poses():
        matrix = pose.gantry.pixel_from_patient()
        size = pose.gantry.size
        plain = Scene(scene_volume).transmission(matrix, size, exposure.beam)
        pinned = Scene(scene_volume, (pose.pin,)).transmission(matrix, size, exposure.beam)
        shadow = np.log(plain) - np.log(pinned)
        picture = np.clip(pinned * 20000, 0, 65535).astype(np.uint16)
        draw, layer = _drawn(pose, picture)
        drawn = layer[..., 3] * (layer[..., :3] == COLOR).all(axis=-1)
        (place,) = draw.track.places
        ends = np.array([place.entry_px, place.target_px])
        radius_px = _radius_px(pose.gantry, pose.pin)
        shadow_profiles, offsets = _profiles(shadow, ends[0], ends[1], radius_px)
        drawn_profiles, _ = _profiles(drawn, ends[0], ends[1], radius_px)
        apart = np.abs(_centroids(shadow_profiles, offsets) - _centroids(drawn_profiles, offsets))
        apart_px.append(float(apart.max()))
        # The simulator's own projection of the pin's ends, by cutting rays with the detector.
        truth = pose.gantry.project(np.array([pose.pin.start_lps_mm, pose.pin.end_lps_mm]))[:, :2]
        ends_px.append(float(np.linalg.norm(ends - truth, axis=1).max()))
    print(f"pins: median {np.median(apart_px):.3f} px, worst {max(apart_px):.3f} px; ends worst {max(ends_px):.4f} px")
    assert len(apart_px) == POSES
    assert np.median(apart_px) <= 0.5
    assert max(apart_px) <= 1.0
    assert max(ends_px) <= 0.01


@pytest.mark.parametrize("shift_mm", [1.0])
def test_the_check_can_fail(shift_mm: float) -> None:
    pose = _poses()[0]
    matrix = pose.gantry.pixel_from_patient()
    shifted = Cylinder(
        start_lps_mm=tuple(np.add(pose.pin.start_lps_mm, shift_mm)),
        end_lps_mm=tuple(np.add(pose.pin.end_lps_mm, shift_mm)),
        diameter_mm=pose.pin.diameter_mm,
    )
    volume = _water()
    beam = Exposure().beam
    plain = Scene(volume).transmission(matrix, pose.gantry.size, beam)
    pinned = Scene(volume, (shifted,)).transmission(matrix, pose.gantry.size, beam)
    draw, layer = _drawn(pose, np.clip(pinned * 20000, 0, 65535).astype(np.uint16))
    (place,) = draw.track.places
    ends = np.array([place.entry_px, place.target_px])
    drawn = layer[..., 3] * (layer[..., :3] == COLOR).all(axis=-1)
    shadow_profiles, offsets = _profiles(np.log(plain) - np.log(pinned), ends[0], ends[1], 25.0)
    drawn_profiles, _ = _profiles(drawn, ends[0], ends[1], 25.0)
    assert np.abs(_centroids(shadow_profiles, offsets) - _centroids(drawn_profiles, offsets)).max() > 1.0
