"""Planning's answers as tables for people; the JSON has more digits and more of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from guidance.messages import Finding, PlannedPath, Vector3
from guidance.planning.answers import Clearance, Corridor, Views

_UNKNOWN = "unknown"


def clearance_lines(path: PlannedPath, answer: Clearance) -> list[str]:
    """One path's clearance."""
    approach = answer.approach
    lines = [
        f"{path.label}  ({_point(path.entry_lps_mm)} -> {_point(path.target_lps_mm)}, {answer.diameter_mm:g} mm)",
        f"  approach        {approach.name or 'none fits'}{f' ({approach.reason})' if approach.reason else ''}",
        f"  length          {_mm(answer.length_mm)}",
        f"  skin to bone    {_mm(answer.skin_to_bone_mm)}",
        f"  bone to target  {_mm(answer.bone_to_target_mm)}",
        f"  to far cortex   {_mm(answer.target_to_far_cortex_mm)}",
        f"  margin in bone  {_mm(answer.bone_margin_mm)}",
        f"  margin          {_mm(answer.margin_mm)}",
        f"  mediolateral    {answer.mediolateral_deg:8.1f} deg",
        f"  craniocaudal    {answer.craniocaudal_deg:8.1f} deg",
    ]
    if answer.suggested_length_mm is not None:
        lines.append(f"  longest that fits {_mm(answer.suggested_length_mm)}")
    if (tip := answer.tip_bone) is not None:
        kept = {True: "preserved", False: "not preserved", None: "not known whether preserved"}[tip.preserved]
        lines.append(
            f"  last {tip.length_mm:g} mm: {tip.mean_hu:.0f} +- {tip.sd_hu:.0f} HU, lowest {tip.lowest_hu:.0f}, "
            f"{100.0 * tip.bone_part:.0f} % bone, {kept}"
        )
    if answer.zones:
        rows = [
            (
                zone.name,
                f"{zone.site.value}{f' {zone.side.value}' if zone.side else ''}",
                f"{zone.min_distance_mm:.1f}",
                f"{zone.at_depth_mm:.1f}",
                _point(zone.point_lps_mm),
                _touch(zone.min_distance_mm, keep_out=zone.kind.value == "keep_out", permitted=zone.permitted),
            )
            for zone in answer.zones
        ]
        lines += _table(("zone", "site", "distance mm", "at depth mm", "at L,P,S", ""), rows)
    if answer.paths:
        rows = [
            (
                other.label or other.path_id,
                "path",
                f"{other.min_distance_mm:.1f}",
                f"{other.at_depth_mm:.1f}",
                _point(other.point_lps_mm),
                "MEETS IT" if other.min_distance_mm <= 0.0 else "",
            )
            for other in answer.paths
        ]
        lines += _table(("other path", "", "distance mm", "at depth mm", "at L,P,S", ""), rows)
    return lines + finding_lines(answer.findings)


def corridor_lines(answer: Corridor) -> list[str]:
    """Whether there is a corridor, and where."""
    asked = f"{answer.diameter_mm:g} mm with a margin of {answer.asked_margin_mm:g} mm"
    lines = [f"{answer.level}: {'a corridor for' if answer.exists else 'NO corridor for'} {asked}"]
    lines.append(f"  reason            {answer.reason}")
    if answer.entry_lps_mm is not None and answer.target_lps_mm is not None:
        lines.append(f"  entry L,P,S       {_point(answer.entry_lps_mm)}")
        lines.append(f"  target L,P,S      {_point(answer.target_lps_mm)}")
    uncertain = "" if answer.uncertainty_mm is None else f" +- {answer.uncertainty_mm:.2f} mm"
    lines += [
        f"  length            {_mm(answer.length_mm)}",
        f"  margin            {_mm(answer.margin_mm)}{uncertain}",
        f"  largest diameter  {_mm(answer.largest_diameter_mm)}",
    ]
    if answer.search_s is not None:
        lines.append(f"  searched for      {answer.search_s:8.1f} s")
    return lines + finding_lines(answer.findings)


def views_lines(path: PlannedPath, answer: Views, zone_names: Mapping[str, str]) -> list[str]:
    """Where to look at one path from; angles are relative to the patient."""
    rows = [
        (
            view.kind.replace("_", " "),
            zone_names.get(view.zone_id, view.zone_id),
            _angle(view.primary_deg, "LAO", "RAO"),
            _angle(view.secondary_deg, "CRAN", "CAUD"),
            "yes" if view.reachable else "NO",
            view.reason,
        )
        for view in answer.views
    ]
    lines = [f"{path.label}  (patient {answer.patient_position or _UNKNOWN}, C-arm {answer.c_arm})"]
    lines += _table(("view", "of", "primary", "secondary", "reachable", "reason"), rows)
    return lines + finding_lines(answer.findings)


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """What was found, one line each."""
    return [f"  {finding.severity.value}: {finding.message}" for finding in findings]


def _touch(distance_mm: float, *, keep_out: bool, permitted: bool) -> str:
    if distance_mm > 0.0:
        return ""
    if not keep_out:
        return "reached"
    return "touched, permitted" if permitted else "HIT"


def _mm(value: float | None) -> str:
    return f"{_UNKNOWN:>8}" if value is None else f"{value:8.1f} mm"


def _point(point: Vector3) -> str:
    return ",".join(f"{value:.1f}" for value in point)


def _angle(value_deg: float, positive: str, negative: str) -> str:
    return f"{value_deg:.1f} {positive if value_deg > 0.0 else negative if value_deg < 0.0 else ''}".strip()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
