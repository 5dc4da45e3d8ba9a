"""A calibration's answer for people: a line for each view, then what it is worth."""

from __future__ import annotations

from collections.abc import Iterator

from guidance.calibration.answers import CalibrationAnswer, Missed


def words_of(answer: CalibrationAnswer) -> Iterator[str]:
    """The lines to print."""
    width = max(len(view.name) for view in answer.views)
    yield (
        f"{'view':<{width}}  primary  secondary  beads  rms px  worst px    focal px   principal px  isocentre off  "
        "sigma mm  left out mm"
    )
    for view in answer.views:
        foretold = "-" if view.left_out_mm is None else f"{view.left_out_mm:.3f}"
        yield (
            f"{view.name:<{width}}  {view.primary_deg:7.1f}  {view.secondary_deg:9.1f}  "
            f"{view.beads_measured:2d}/{view.beads_expected:2d}  {view.rms_px:6.3f}  "
            f"{view.worst_bead.residual_px:5.2f} {view.worst_bead.bead:<4}  {view.focal_px[0]:8.1f}  "
            f"{view.principal_px[0]:6.1f} {view.principal_px[1]:6.1f}  {view.isocenter_off_middle_mm:10.2f} mm  "
            f"{view.sigma_mm:8.3f}  {foretold:>11}"
        )
    for one in answer.left_out:
        mend = f" ({one.mend})" if one.mend else ""
        yield f"left out: {one.name}: {one.reason}{mend}"
    yield (
        f"{len(answer.views)} views, reprojection rms {answer.rms_px:.3f} px; worst bead {answer.worst_bead.bead} in "
        f"{answer.worst_bead.view}, {answer.worst_bead.residual_px:.2f} px"
    )
    x, y, z = answer.isocenter_phantom_mm
    whence = "told" if answer.isocenter == "told" else "the point that the views agree on best"
    yield f"isocentre: {whence}, at {x:.2f} {y:.2f} {z:.2f} mm of the phantom"
    rms_mm, worst_mm = answer.classic_xa_off_mm
    yield (
        f"classic XA assumes that the isocentre projects to the picture's middle: it is {rms_mm:.2f} mm off (rms), "
        f"{worst_mm:.2f} mm at worst"
    )
    if answer.held_out:
        yield f"held out, never fitted to: {', '.join(view.name for view in answer.held_out)}"
        for what, missed in (
            ("this table", answer.held_out_interpolated),
            ("its nearest view, turned", answer.held_out_nearest_view),
            ("classic XA", answer.held_out_classic_xa),
        ):
            yield f"  {what:<24} {_missed(missed)}"
    yield f"reaches poses up to {answer.tolerance_deg:g} deg from a calibrated view"
    for warning in answer.warnings:
        yield f"warning: {warning}"


def _missed(missed: Missed | None) -> str:
    if missed is None:
        return "does not reach them"
    return (
        f"{missed.rms_px:6.2f} px rms {missed.worst_px:6.2f} px worst   {missed.rms_mm:6.3f} mm rms "
        f"{missed.worst_mm:6.3f} mm worst"
    )
