"""What `guidance calibrate` answers: each view's figures, what was left out and why, what held-out views show."""

from __future__ import annotations

import msgspec


class WorstBead(msgspec.Struct, frozen=True, kw_only=True):
    """The bead that lies farthest from where its camera puts it."""

    bead: str
    view: str
    residual_px: float


class ViewAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One calibrated view.

    Attributes:
        beads_named, beads_expected: of those whose shadow falls into the picture.
        beads_measured: named, free of other shadows, and used.
        false_shadows: round shadows that are no bead.
        outliers: measured beads that the robust loss gave up.
        isocenter_off_middle_mm: how far from the picture's middle the isocentre projects, at the isocentre.
        sigma_mm: standard deviation of a point's place in the picture from this calibration, at the isocentre.
        left_out_mm: how far the table without this view would be off there, rms over 60 mm about the isocentre.
    """

    name: str
    primary_deg: float
    secondary_deg: float
    detector_rotation_deg: float
    source_to_detector_mm: float
    beads_named: int
    beads_expected: int
    beads_measured: int
    false_shadows: int
    outliers: int
    rms_px: float
    worst_bead: WorstBead
    focal_px: tuple[float, float]
    principal_px: tuple[float, float]
    source_to_isocenter_mm: float
    isocenter_off_middle_mm: float
    sigma_mm: float
    left_out_mm: float | None


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """How far a method puts beads from where they are seen: rms and worst, in px and in mm at the isocentre."""

    rms_px: float
    worst_px: float
    rms_mm: float
    worst_mm: float


class HeldOutView(msgspec.Struct, frozen=True, kw_only=True):
    """A view that nothing was fitted to, by method; null where the table does not reach it."""

    name: str
    primary_deg: float
    secondary_deg: float
    interpolated: Missed | None
    nearest_view: Missed | None
    classic_xa: Missed


class LeftOutView(msgspec.Struct, frozen=True, kw_only=True):
    """A view that was not used, and why."""

    name: str
    code: str
    reason: str
    mend: str


class CalibrationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The whole calibration.

    Attributes:
        rms_px: reprojection residual of all measured beads of all views, outliers aside.
        isocenter: `views` or `told`, see docs/calibration.md.
        isocenter_phantom_mm: the isocentre in the phantom's frame.
        isocenter_spread_mm: rms distance between the views' nominal axes and the isocentre.
        beads_moved_mm: rms by which beads were found beside their told places, per axis.
        held_out: by view; `held_out_interpolated`, `..._nearest_view`, `..._classic_xa` over all of them.
        classic_xa_off_mm: over all views, how far from the middle the isocentre projects: rms and worst, mm there.
        tolerance_deg: how far from a calibrated view the table reaches.
        warnings: what to mend for a better table.
    """

    phantom: str
    suite: str
    views: tuple[ViewAnswer, ...]
    left_out: tuple[LeftOutView, ...]
    rms_px: float
    worst_bead: WorstBead
    sigma_px: float
    isocenter: str
    isocenter_phantom_mm: tuple[float, float, float]
    isocenter_spread_mm: float
    beads_moved_mm: float
    held_out: tuple[HeldOutView, ...]
    held_out_interpolated: Missed | None
    held_out_nearest_view: Missed | None
    held_out_classic_xa: Missed | None
    classic_xa_off_mm: tuple[float, float]
    tolerance_deg: float
    warnings: tuple[str, ...]
