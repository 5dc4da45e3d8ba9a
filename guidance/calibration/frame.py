"""How the phantom lies in the equipment's frame, agreed on by all views; and which view's told angles disagree."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NoReturn

import numpy as np

from guidance.calibration.picture import LeftOut
from guidance.calibration.told_view import ToldView
from guidance.calibration.view_camera import ViewCamera
from guidance.errors import GeometryError
from guidance.geometry.rotations import nearest_rotation
from guidance.messages import F64

# Sag, tilt of the detector and rounding of shown angles together stay below this on every C-arm.
AGREE_DEG: Final = 4.0
_ENOUGH: Final = 0.5
# A detector off centre and a sagging gantry bring the views' own isocentre so far from the CBCT's, and not farther.
_FARTHEST_MM: Final = 20.0
_ROUNDS: Final = 12
_MEND: Final = "tell the angles that the equipment showed for this picture"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PhantomPose:
    """Where the phantom lay.

    Attributes:
        equipment_from_phantom: (4, 4).
        found_from: `views` (the isocentre is the point that the views' nominal axes agree on best) or `told`.
        isocenter_spread_mm: rms distance of that point from the views' nominal axes: sag, and a detector off centre.
    """

    equipment_from_phantom: F64
    found_from: str
    isocenter_spread_mm: float

    @property
    def isocenter_phantom_mm(self) -> F64:
        """(3,): the isocentre in the phantom's frame."""
        rotation, shift = self.equipment_from_phantom[:3, :3], self.equipment_from_phantom[:3, 3]
        isocenter: F64 = -rotation.T @ shift
        return isocenter


def disagreeing(told: Sequence[ToldView], cameras: Sequence[ViewCamera]) -> list[LeftOut]:
    """The views whose told angles do not fit what the other views show.

    Raises:
        GeometryError: `angles_contradictory` where no half of the views agrees: with the sign that is wrong in all of
            them, where there is one.
    """
    count = len(told)
    if count < 2:
        return []
    turns = [_equipment_from_phantom(view.axes, camera) for view, camera in zip(told, cameras, strict=True)]
    middle, members = _agreeing(turns)
    if len(members) <= _ENOUGH * count:
        _refuse_all(told, cameras)
    consensus = nearest_rotation(np.sum([turns[n] for n in members], axis=0)) if members else turns[middle]
    bad = [n for n in range(count) if _between_deg(turns[n], consensus) > AGREE_DEG]
    return [_disagreement(n, bad, told, cameras, consensus) for n in bad]


def phantom_pose(
    told: Sequence[ToldView], cameras: Sequence[ViewCamera], equipment_from_phantom: F64 | None = None
) -> PhantomPose:
    """The phantom in the equipment's frame.

    Without a told pose: axes by the mean of what each view's angles say; the isocentre where the rays through the
    pictures' middles (classic XA's isocentre) come nearest to each other, by least squares with a robust weight, held
    to the told distance from the source where that is told.

    Args:
        equipment_from_phantom: (4, 4), known from the suite's own CBCT of the phantom; None: from the views.

    Raises:
        GeometryError: `pose_disagrees`: the told pose is not where the views show the phantom.
    """
    turns = [_equipment_from_phantom(view.axes, camera) for view, camera in zip(told, cameras, strict=True)]
    if equipment_from_phantom is None:
        rotation = nearest_rotation(np.sum(turns, axis=0))
        isocenter = _nearest_point(told, cameras)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation, -rotation @ isocenter
    else:
        pose = equipment_from_phantom
        isocenter = -pose[:3, :3].T @ pose[:3, 3]
        _check_told(pose, nearest_rotation(np.sum(turns, axis=0)), _nearest_point(told, cameras) - isocenter)
    away = [_off_axis(view, camera, isocenter) for view, camera in zip(told, cameras, strict=True)]
    return PhantomPose(
        equipment_from_phantom=pose,
        found_from="views" if equipment_from_phantom is None else "told",
        isocenter_spread_mm=float(np.sqrt(np.mean([float(off @ off) for off in away]))),
    )


def _check_told(pose: F64, rotation: F64, off_mm: F64) -> None:
    """Refuse a told pose that the views contradict: another frame's, its inverse, or angles with an offset."""
    turned_deg, away_mm = _between_deg(pose[:3, :3], rotation), float(np.linalg.norm(off_mm))
    if turned_deg > AGREE_DEG or away_mm > _FARTHEST_MM:
        raise GeometryError(
            f"the phantom's told pose is {turned_deg:.0f} deg and {away_mm:.0f} mm from what the views show",
            code="pose_disagrees",
            mend="tell equipment_from_phantom in mm, of this phantom as it lay; check that the angles are "
            "the equipment's, not the patient's",
        )


def _equipment_from_phantom(axes: F64, camera: ViewCamera) -> F64:
    x, y, z = axes
    rotation: F64 = np.array((x, -z, -y)).T @ camera.rotation
    return rotation


def _between_deg(one: F64, other: F64) -> float:
    return math.degrees(math.acos(min(1.0, max(-1.0, (float(np.vdot(one, other)) - 1.0) / 2.0))))


def _agreeing(turns: Sequence[F64]) -> tuple[int, list[int]]:
    """The view that most agree with, and those."""
    flat = np.array([turn.ravel() for turn in turns])
    agree = (flat @ flat.T - 1.0) / 2.0 >= math.cos(math.radians(AGREE_DEG))
    middle = int(agree.sum(axis=1).argmax())
    return middle, np.flatnonzero(agree[middle]).tolist()


_MISTAKES: Final = {
    "the primary angle's sign is wrong": lambda p, s, r: (-p, s, r),
    "the secondary angle's sign is wrong": lambda p, s, r: (p, -s, r),
    "the signs of both angles are wrong": lambda p, s, r: (-p, -s, r),
    "primary and secondary angle are exchanged": lambda p, s, r: (s, p, r),
    "the detector's rotation has the wrong sign": lambda p, s, r: (p, s, -r),
    "the picture is turned by 90 deg that XRay.FovRotationDeg does not tell": lambda p, s, r: (p, s, r + 90.0),
    "the picture is turned by 180 deg that XRay.FovRotationDeg does not tell": lambda p, s, r: (p, s, r + 180.0),
    "the picture is turned by 270 deg that XRay.FovRotationDeg does not tell": lambda p, s, r: (p, s, r - 90.0),
}


def _mistaken(view: ToldView, mistake: str) -> ToldView:
    p, s, r = _MISTAKES[mistake](view.primary_deg, view.secondary_deg, view.detector_rotation_deg)
    return replace(view, primary_deg=p, secondary_deg=s, detector_rotation_deg=r)


def _refuse_all(told: Sequence[ToldView], cameras: Sequence[ViewCamera]) -> NoReturn:
    for mistake in _MISTAKES:
        turns = [
            _equipment_from_phantom(_mistaken(view, mistake).axes, camera)
            for view, camera in zip(told, cameras, strict=True)
        ]
        if len(_agreeing(turns)[1]) > _ENOUGH * len(told):
            raise GeometryError(
                f"the angles of the views contradict each other; they agree if {mistake} in all of them",
                code="angles_contradictory",
                mend="mend the adaptor that tells them; primary +90 is the patient's left, secondary +90 the head",
            )
    raise GeometryError(
        f"the angles of the {len(told)} views contradict each other",
        code="angles_contradictory",
        mend="check that the phantom was not moved between pictures and that the angles are the equipment's",
    )


def _disagreement(
    number: int, bad: Sequence[int], told: Sequence[ToldView], cameras: Sequence[ViewCamera], consensus: F64
) -> LeftOut:
    view, camera = told[number], cameras[number]
    off_deg = _between_deg(_equipment_from_phantom(view.axes, camera), consensus)
    said = f"{view.primary_deg:g} / {view.secondary_deg:g} deg are told, the beads show another {off_deg:.0f} deg away"

    def fits(other: ToldView) -> bool:
        return _between_deg(_equipment_from_phantom(other.axes, camera), consensus) <= AGREE_DEG

    # Another bad view's angles fit this picture, and this one's fit that one's: the two were exchanged.
    for other in bad:
        if other != number and fits(told[other]):
            fits_back = _between_deg(_equipment_from_phantom(view.axes, cameras[other]), consensus) <= AGREE_DEG
            if fits_back:
                return LeftOut(
                    name=view.name,
                    code="views_exchanged",
                    reason=f"{said}: it shows what is told of {told[other].name}",
                    mend=f"exchange the pictures of {view.name} and {told[other].name}",
                )
    for mistake in _MISTAKES:
        if fits(_mistaken(view, mistake)):
            return LeftOut(name=view.name, code="angle_sign", reason=f"{said}: {mistake}", mend=_MEND)
    return LeftOut(name=view.name, code="angles_disagree", reason=said, mend=_MEND)


def _middle_ray(view: ToldView, camera: ViewCamera) -> tuple[F64, F64]:
    """Source and unit direction of the ray that classic XA takes for the one through the isocentre."""
    u, v = view.principal_px or view.middle_px
    in_camera = np.array(
        ((u - camera.principal_px[0]) / camera.focal_px[0], (v - camera.principal_px[1]) / camera.focal_px[1], 1.0)
    )
    direction = camera.rotation.T @ in_camera
    return -camera.rotation.T @ camera.translation_mm, direction / np.linalg.norm(direction)


def _off_axis(view: ToldView, camera: ViewCamera, point: F64) -> F64:
    source, direction = _middle_ray(view, camera)
    beside = point - source
    off: F64 = beside - (beside @ direction) * direction
    return off


def _nearest_point(told: Sequence[ToldView], cameras: Sequence[ViewCamera]) -> F64:
    """Isocentre in the phantom's frame; reweighted least squares, linear in the point."""
    rays = [_middle_ray(view, camera) for view, camera in zip(told, cameras, strict=True)]
    weights = np.ones(len(rays))
    point: F64 = np.zeros(3)
    for _ in range(_ROUNDS):
        normal, right = np.zeros((3, 3)), np.zeros(3)
        for weight, view, (source, direction) in zip(weights, told, rays, strict=True):
            across = np.eye(3) - np.outer(direction, direction)
            normal += weight * across
            right += weight * across @ source
            # A view alone says nothing of the depth; the told distance (or a usual one, hardly weighed) does.
            share = weight * (0.05 if view.source_to_isocenter_mm is not None else 1e-4)
            normal += share * np.outer(direction, direction)
            right += share * direction * (direction @ source + view.distance_mm)
        point = np.asarray(np.linalg.solve(normal, right), np.float64)
        off = np.array([float(np.linalg.norm(_off_axis(v, c, point))) for v, c in zip(told, cameras, strict=True)])
        scale = max(1.5 * float(np.median(off)), 0.1)
        weights = 1.0 / (1.0 + (off / scale) ** 2)
    return point


def likely_cameras(view: ToldView, seen: Sequence[tuple[ToldView, ViewCamera]]) -> list[ViewCamera]:
    """Where a view's camera would be if its angles and those of views already seen are all true."""
    likely = []
    for told, camera in seen:
        pose = phantom_pose([told], [camera]).equipment_from_phantom
        ideal = view.ideal_camera()
        likely.append(
            ViewCamera(
                focal_px=ideal.focal_px,
                principal_px=ideal.principal_px,
                rotation=ideal.rotation @ pose[:3, :3],
                translation_mm=ideal.translation_mm + ideal.rotation @ pose[:3, 3],
            )
        )
    return likely


def turned_apart_deg(views: Sequence[ToldView]) -> list[float]:
    """For each view, the turn to the nearest other one; 180 for a lone view."""
    nearest = [180.0] * len(views)
    for (n, one), (m, other) in itertools.combinations(enumerate(views), 2):
        apart = _between_deg(one.axes, other.axes)
        nearest[n], nearest[m] = min(nearest[n], apart), min(nearest[m], apart)
    return nearest
