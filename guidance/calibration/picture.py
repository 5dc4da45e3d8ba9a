"""One picture of the phantom: beads found, named, and the view's camera by itself; or the reason why not."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from guidance.calibration.detection import BeadShadow, find_beads
from guidance.calibration.dlt import camera_of, projection_of
from guidance.calibration.labelling import Labelled, labelled, unflipped
from guidance.calibration.phantom import Indices, Phantom
from guidance.calibration.told_view import ToldView
from guidance.calibration.view_camera import ViewCamera, fitted
from guidance.errors import GeometryError
from guidance.geometry.detector import picture_from_cropped
from guidance.messages import F64, Pixels

# Neighbouring fields of view differ by 20 % and more, a display of the distance by less than one.
_SAME_ZOOM: Final = 0.03
_FEWEST_TO_MEASURE: Final = 10
_SIGMA_FLOOR_PX: Final = 0.005  # a sampled, blurred edge tells no more, however little noise there is
_WORST_RMS_PX: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredView:
    """One picture with its beads named.

    Attributes:
        told: where the gantry says it stood.
        camera: fitted to this picture alone, phantom's frame, picture before turn and flip.
        beads: (M,) indices of the beads measured with.
        places_px: (M, 2) of their shadows, before turn and flip.
        sigma_px: (M,).
        named, expected: beads named, and beads whose shadow falls into the picture.
        false_shadows: round shadows that are no bead of the phantom.
        touching: named beads whose shadow touches another's: not measured with.
    """

    told: ToldView
    camera: ViewCamera
    beads: Indices
    places_px: F64
    sigma_px: F64
    named: int
    expected: int
    false_shadows: int
    touching: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A view that cannot be used: its name, a stable code, what is wrong and the mend."""

    name: str
    code: str
    reason: str
    mend: str


def measured_view(
    phantom: Phantom,
    told: ToldView,
    pixels: Pixels,
    *,
    intensity: Literal["LIN", "LOG", "DISP"] = "LIN",
    sign: Literal[1, -1] = 1,
    valid: npt.NDArray[np.bool_] | None = None,
    poses: Sequence[ViewCamera] = (),
) -> MeasuredView | LeftOut:
    """Find and name the beads of one picture.

    Args:
        pixels: (rows, columns) as sent.
        intensity, sign, valid: as of `RegistrationView`.
        poses: cameras that other views make likely; only to be quicker.
    """
    per_mm = told.focal_px[0] / told.distance_mm
    sizes = (float(phantom.diameters_mm.min()) * per_mm, float(phantom.diameters_mm.max()) * per_mm)
    seen = find_beads(pixels, diameter_range_px=sizes, intensity=intensity, sign=sign, valid=valid)
    shadows = _before_turn_and_flip(seen, told)
    guess = replace(told.ideal_camera(), rotation=np.eye(3))
    found = labelled(phantom, shadows, guess, told.cropped_size, poses=poses)
    if found is None:
        return _why_not(phantom, told, shadows, guess)
    measured = _measured(phantom, told, shadows, found)
    if isinstance(measured, LeftOut):
        return measured
    zoom = measured.camera.focal_px[1] / told.focal_px[1]
    if abs(zoom - 1.0) > _SAME_ZOOM:
        return LeftOut(
            name=told.name,
            code="another_zoom",
            reason=f"the beads are seen {zoom:.2f} times as large as the told pixel spacing and distance make them",
            mend="tell this picture's own XRay.ImagerPixelSpacingMm and XRay.SourceToDetectorMm, "
            "or calibrate its zoom apart",
        )
    return measured


def _before_turn_and_flip(shadows: Sequence[BeadShadow], told: ToldView) -> list[BeadShadow]:
    rows, columns = told.cropped_size
    back = np.linalg.inv(picture_from_cropped(rows, columns, told.fov_rotation_deg, told.fov_flip))
    moved = [back @ (one.u, one.v, 1.0) for one in shadows]
    return [replace(one, u=float(at[0]), v=float(at[1])) for one, at in zip(shadows, moved, strict=True)]


def _measured(
    phantom: Phantom, told: ToldView, shadows: Sequence[BeadShadow], found: Labelled
) -> MeasuredView | LeftOut:
    beads, chosen = found.beads[found.clear], found.shadows[found.clear]
    if len(beads) < _FEWEST_TO_MEASURE:
        return LeftOut(
            name=told.name,
            code="too_few_beads",
            reason=f"{len(beads)} beads stand free of each other, fewer than {_FEWEST_TO_MEASURE}",
            mend="lay the phantom so that more of its beads are in the picture",
        )
    places = np.array([(shadows[n].u, shadows[n].v) for n in chosen])
    sigma = np.maximum(np.array([shadows[n].sigma_px for n in chosen]), _SIGMA_FLOOR_PX)
    camera, points, radii = found.camera, phantom.points_mm[beads], phantom.diameters_mm[beads] / 2.0
    with contextlib.suppress(GeometryError):  # beads nearly in a plane: the labelling's own camera is the better start
        camera = camera_of(projection_of(points, places), found.camera.focal_px[0] / found.camera.focal_px[1])
    # The beads' own tolerance is more than the noise, and not yet known here.
    spread = np.hypot(sigma, phantom.tolerance_mm * camera.focal_px[1] / np.abs(camera.seen(points)[:, 2]))
    camera, residual = fitted(camera, points, radii, places, spread)
    rms = float(np.sqrt(np.mean(residual**2)))
    if not rms < _WORST_RMS_PX:
        return LeftOut(
            name=told.name,
            code="beads_do_not_fit",
            reason=f"beads lie {rms:.1f} px beside where any camera would put them",
            mend="check that this is the phantom described, and that the picture is not distorted",
        )
    return MeasuredView(
        told=told,
        camera=camera,
        beads=beads,
        places_px=places,
        sigma_px=sigma,
        named=len(found.beads),
        expected=found.expected,
        false_shadows=len(shadows) - len(found.beads),
        touching=len(found.beads) - len(beads),
    )


def _why_not(phantom: Phantom, told: ToldView, shadows: Sequence[BeadShadow], guess: ViewCamera) -> LeftOut:
    mirrored = labelled(phantom, unflipped(shadows, told.cropped_size[1]), guess, told.cropped_size)
    if mirrored is not None:
        return LeftOut(
            name=told.name,
            code="mirrored_picture",
            reason="the phantom is seen mirrored",
            mend="tell XRay.FovFlip 1 if the suite sends flipped pictures, else send this one unflipped",
        )
    keys = len(phantom.keys)
    if len(shadows) < _FEWEST_TO_MEASURE:
        return LeftOut(
            name=told.name,
            code="too_few_beads",
            reason=f"{len(shadows)} round shadows are seen, fewer than {_FEWEST_TO_MEASURE}",
            mend="bring the phantom to the isocentre, open the collimator, and check XRay.PixelIntensityRelationship",
        )
    return LeftOut(
        name=told.name,
        code="phantom_not_found",
        reason=f"{len(shadows)} round shadows are seen, and phantom {phantom.name!r} explains them from no side",
        mend=f"check that it is this phantom, whole, with its {keys} beads of "
        f"{phantom.diameters_mm[phantom.keys[0]]:g} mm in the picture",
    )


def cropped_points(places_px: F64, told: ToldView) -> F64:
    """(N, 2) px before turn and flip -> px of the picture as sent."""
    rows, columns = told.cropped_size
    turn = picture_from_cropped(rows, columns, told.fov_rotation_deg, told.fov_flip)
    sent: F64 = places_px @ turn[:2, :2].T + turn[:2, 2]
    return sent
