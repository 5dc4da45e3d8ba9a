"""All measured views of a suite -> its calibration table, with what was left out, held out and found."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.calibration.bundle import Bundle, adjusted
from guidance.calibration.bundle_problem import LabelledView
from guidance.calibration.equipment_view import calibrated_view
from guidance.calibration.frame import PhantomPose, disagreeing, phantom_pose, turned_apart_deg
from guidance.calibration.phantom import Phantom
from guidance.calibration.picture import LeftOut, MeasuredView
from guidance.errors import GeometryError
from guidance.geometry.calibration_table import CalibratedView, CalibrationTable
from guidance.geometry.camera import project
from guidance.messages import F64

# A view farther from what its neighbours foretell than so many times the others' median, and than this in mm.
_DEPARTS_TIMES: Final = 6.0
_DEPARTS_MM: Final = 2.5
_FEWEST_TO_DEPART: Final = 6
_TOLERANCE_DEG: Final = (2.0, 10.0)
_TOLERANCE_MM: Final = 1.0
_REACH_SHARE: Final = 0.9  # of the views' distance from each other, so that the middle of four is reached
_CUBE_MM: Final = np.array([(x, y, z) for x in (-60.0, 60.0) for y in (-60.0, 60.0) for z in (-60.0, 60.0)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SuiteCalibration:
    """A suite, calibrated.

    Attributes:
        table: what the server reads.
        pose: how the phantom lay.
        bundle: the adjustment; its views are `used`'s, in order.
        used: views that the table is made of.
        held: views that nothing was fitted to.
        left_out: views that cannot be used, and why.
    """

    table: CalibrationTable
    pose: PhantomPose
    bundle: Bundle
    used: tuple[MeasuredView, ...]
    held: tuple[MeasuredView, ...]
    left_out: tuple[LeftOut, ...]


def calibrated_suite(
    phantom: Phantom,
    views: Sequence[MeasuredView | LeftOut],
    *,
    hold_out: Collection[str] = (),
    suite: str = "",
    equipment_from_phantom: F64 | None = None,
    share_focal: bool = False,
    tolerance_mm: float = _TOLERANCE_MM,
) -> SuiteCalibration:
    """Calibrate a suite.

    Args:
        views: of one kind of picture; others are left out.
        hold_out: names of views that nothing may be fitted to.
        equipment_from_phantom: (4, 4) where the phantom lay, from the suite's own CBCT of it; None: from the views.
        share_focal: views of one source to detector distance have one focal length.
        tolerance_mm: how far from a view's distance the table is true.

    Raises:
        GeometryError: `no_usable_view`, naming why the first was left out; `angles_contradictory`.
    """
    left_out = [view for view in views if isinstance(view, LeftOut)]
    good = _one_kind([view for view in views if isinstance(view, MeasuredView)], left_out)
    # Held-out views are judged like the others, so that a wrongly told one is not counted as the table's error.
    bad = disagreeing([view.told for view in good], [view.camera for view in good])
    left_out += bad
    good = [view for view in good if view.told.name not in {one.name for one in bad}]
    good = _without_departing(good, equipment_from_phantom, left_out)
    used = tuple(view for view in good if view.told.name not in hold_out)
    if not used:
        why = f"; {left_out[0].name}: {left_out[0].reason}" if left_out else ""
        raise GeometryError(
            f"no view is left to calibrate with{why}",
            code="no_usable_view",
            mend=left_out[0].mend if left_out else "hold fewer views out",
        )
    groups = sorted({view.told.source_to_detector_mm for view in used})
    bundle = adjusted(
        [
            LabelledView(
                camera=view.camera,
                beads=view.beads,
                places_px=view.places_px,
                sigma_px=view.sigma_px,
                focal_group=groups.index(view.told.source_to_detector_mm),
            )
            for view in used
        ],
        phantom.points_mm,
        phantom.diameters_mm / 2.0,
        phantom.tolerance_mm,
        share_focal=share_focal,
    )
    pose = phantom_pose([view.told for view in used], bundle.cameras, equipment_from_phantom)
    calibrated = tuple(
        calibrated_view(view.told, camera, pose.equipment_from_phantom, covariance)
        for view, camera, covariance in zip(used, bundle.cameras, bundle.covariances, strict=True)
    )
    return SuiteCalibration(
        table=_table(used, calibrated, suite, tolerance_mm),
        pose=pose,
        bundle=bundle,
        used=used,
        held=tuple(view for view in good if view.told.name in hold_out),
        left_out=tuple(left_out),
    )


def left_out_errors_mm(table: CalibrationTable) -> list[float]:
    """For each view, rms over a cube about the isocentre of how far the table without it would be off, mm there."""
    return [
        _apart_mm(view.pixel_from_equipment, other) for view, other in zip(table.views, table.left_out(), strict=True)
    ]


def _apart_mm(one: F64, other: F64) -> float:
    """Rms distance at the isocentre's depth between where two matrices put the corners of a cube."""
    here, there = project(_CUBE_MM, one), project(_CUBE_MM, other)
    focal = float(np.sqrt(abs(np.linalg.det(one[:, :3]))))
    off = np.linalg.norm(here[:, :2] - there[:, :2], axis=1) * float(one[2, 3]) / focal
    return float(np.sqrt(np.mean(off * off)))


def _one_kind(views: list[MeasuredView], left_out: list[LeftOut]) -> list[MeasuredView]:
    kinds = [(v.told.rows, v.told.columns, v.told.fov_rotation_deg, v.told.fov_flip) for v in views]
    if not kinds:
        return views
    usual = max(kinds, key=kinds.count)
    for view, kind in zip(views, kinds, strict=True):
        if kind != usual:
            left_out.append(
                LeftOut(
                    name=view.told.name,
                    code="another_kind",
                    reason=f"picture of {kind[1]} x {kind[0]} pixels, turned {kind[2]} deg, flip {kind[3]:d}; "
                    f"the others are {usual[1]} x {usual[0]}, {usual[2]} deg, {usual[3]:d}",
                    mend="calibrate each kind of picture into a table of its own",
                )
            )
    return [view for view, kind in zip(views, kinds, strict=True) if kind == usual]


def _without_departing(
    views: list[MeasuredView], equipment_from_phantom: F64 | None, left_out: list[LeftOut]
) -> list[MeasuredView]:
    """Views without those that the others foretell far off: the phantom or the table was moved, or the gantry was."""
    while len(views) >= _FEWEST_TO_DEPART:
        pose = phantom_pose([v.told for v in views], [v.camera for v in views], equipment_from_phantom)
        alone = tuple(calibrated_view(v.told, v.camera, pose.equipment_from_phantom, None) for v in views)
        off_mm = left_out_errors_mm(_table(views, alone, "", _TOLERANCE_MM))
        worst = int(np.argmax(off_mm))
        usual_mm = float(np.median(off_mm))
        if off_mm[worst] < max(_DEPARTS_MM, _DEPARTS_TIMES * usual_mm):
            break
        left_out.append(
            LeftOut(
                name=views[worst].told.name,
                code="departs_from_others",
                reason=f"it shows the phantom {off_mm[worst]:.1f} mm from where the other views foretell it "
                f"(they {usual_mm:.1f} mm)",
                mend="check that neither phantom nor table was moved, and take this view again",
            )
        )
        views = [view for n, view in enumerate(views) if n != worst]
    return views


def _table(
    views: Sequence[MeasuredView], calibrated: tuple[CalibratedView, ...], suite: str, tolerance_mm: float
) -> CalibrationTable:
    told = views[0].told
    apart = [angle for angle in turned_apart_deg([view.told for view in views]) if angle < 180.0]
    reach = _REACH_SHARE * max(apart, default=0.0)
    return CalibrationTable(
        suite=suite,
        rows=told.rows,
        columns=told.columns,
        fov_rotation_deg=told.fov_rotation_deg,
        fov_flip=told.fov_flip,
        tolerance_deg=round(min(max(reach, _TOLERANCE_DEG[0]), _TOLERANCE_DEG[1]), 2),
        tolerance_mm=tolerance_mm,
        views=calibrated,
    )
