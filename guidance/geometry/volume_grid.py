"""Slices in any order -> the grid that they span and what is wrong with it, from positions and orientations alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.geometry.volume_gaps import GapKind, judge_gaps
from guidance.geometry.volume_slices import SliceDescription
from guidance.messages import F64, Finding, Severity

SAME_PLACE_MM: Final = 0.01  # positions are written with 2 to 6 decimals; no scanner steps by less than 0.1 mm
ORIENTATION_TOLERANCE_DEG: Final = 0.1  # over half a 250 mm field: 0.2 mm
TILT_TOLERANCE_DEG: Final = 0.25
AXIAL_LIMIT_DEG: Final = 35.0  # CT gantries tilt up to 30 degrees and are still axial
STRAY_LIMIT_PX: Final = 0.5  # how far a slice may lie beside the line of the others without being moved back
EDGE_TISSUE_LIMIT: Final = 0.05  # mean share of the field's edge that shows tissue


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeGrid:
    """Where each slice goes.

    Attributes:
        shape_kji: (slices, rows, columns) of the volume.
        affine_lps_from_ijk: (4, 4) float64, voxel centres at integers. The third column is the true step from slice to
            slice: it leans over where the gantry was tilted (a sheared grid, held exactly).
        order: keys of the slices taken, by ascending place along the normal row x column.
        source_k: (len(order),) float64 place of each taken slice in units of the volume's k; exactly 0, 1, 2 ...
            unless the volume has to be resampled.
        offsets_ij: (len(order), 2) float64 how far each taken slice lies beside the grid, in voxels (i, j).
    """

    shape_kji: tuple[int, int, int]
    affine_lps_from_ijk: F64
    order: tuple[tuple[str, int], ...]
    source_k: F64
    offsets_ij: F64

    @property
    def is_resampled(self) -> bool:
        """Whether voxels have to be interpolated between slices."""
        return bool(np.any(self.source_k != np.arange(len(self.order))) or np.any(self.offsets_ij))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The answer for one stack: a grid unless an error refuses it.

    Attributes:
        grid: None if any finding is an error.
        findings: errors first.
    """

    grid: VolumeGrid | None
    findings: tuple[Finding, ...]


def arrange(slices: Sequence[SliceDescription]) -> Arrangement:
    """Order the slices of one stack by their geometry and find what keeps them from being a volume.

    Args:
        slices: in any order; all of one size and pixel spacing (see `volume_groups.split`). Digests must be set.

    Returns:
        The grid, or None with at least one error finding.

    Source: DICOM PS3.3 C.7.6.2.1.1 (the mapping); the codes are the contract's (5.2).
    """
    findings = _mixed(slices)
    if findings:
        return Arrangement(grid=None, findings=findings)
    reference = slices[0]
    normal = reference.normal
    ordered = sorted(slices, key=lambda one: (float(normal @ np.array(one.position_mm)), one.digest, one.key))
    kept, doubled = _drop_doubles(ordered, normal)
    findings = doubled
    if len(kept) == 1:
        findings += (_error("single_slice", "one slice is no volume"),)
    if any(finding.severity is Severity.ERROR for finding in findings):
        return Arrangement(grid=None, findings=_errors_first(findings))
    grid, gap_findings = _span(kept, normal)
    findings += gap_findings
    if grid is not None:
        findings += _direction_findings(grid, normal) + _edge_findings(kept)
    return Arrangement(grid=grid, findings=_errors_first(findings))


def _mixed(slices: Sequence[SliceDescription]) -> tuple[Finding, ...]:
    if not slices:
        return (_error("single_slice", "no slice has arrived"),)
    findings = []
    frames = {one.frame_of_reference_uid for one in slices}
    if len(frames) > 1:
        findings.append(
            _error("mixed_frame_of_reference", f"slices of {len(frames)} frames of reference in one series")
        )
    first = slices[0]
    rows = np.array([one.row_direction for one in slices])
    columns = np.array([one.column_direction for one in slices])
    # chord length is the angle for the small angles that decide here
    worst = max(
        float(np.max(np.linalg.norm(rows - np.array(first.row_direction), axis=1))),
        float(np.max(np.linalg.norm(columns - np.array(first.column_direction), axis=1))),
    )
    if worst > np.deg2rad(ORIENTATION_TOLERANCE_DEG):
        findings.append(
            _error("mixed_orientation", f"planes of one series differ by {np.rad2deg(min(worst, 2.0)):.1f} degrees")
        )
    positions = {one.patient_position for one in slices}
    if len(positions) > 1:
        findings.append(_error("mixed_orientation", f"patient positions {', '.join(sorted(positions))} in one series"))
    return tuple(findings)


def _drop_doubles(
    ordered: Sequence[SliceDescription], normal: F64
) -> tuple[list[SliceDescription], tuple[Finding, ...]]:
    kept: list[SliceDescription] = []
    same = 0
    conflicts = []
    for one in ordered:
        if kept and float(normal @ np.subtract(one.position_mm, kept[-1].position_mm)) < SAME_PLACE_MM:
            beside_mm = float(np.linalg.norm(np.subtract(one.position_mm, kept[-1].position_mm)))
            if one.digest == kept[-1].digest and beside_mm < SAME_PLACE_MM:
                same += 1
            else:
                conflicts.append(one)
            continue
        kept.append(one)
    findings = []
    if conflicts:
        place = ", ".join(f"{value:.2f}" for value in conflicts[0].position_mm)
        findings.append(
            _error("conflicting_slices", f"{len(conflicts)} slices lie on others but differ, the first at ({place}) mm")
        )
    if same:
        findings.append(_warning("duplicate_slices", f"{same} slices came twice with the same pixels"))
    return kept, tuple(findings)


def _span(kept: Sequence[SliceDescription], normal: F64) -> tuple[VolumeGrid | None, tuple[Finding, ...]]:
    positions = np.array([one.position_mm for one in kept], dtype=np.float64)
    along = (positions - positions[0]) @ normal
    verdict = judge_gaps(along, [one.instance_number for one in kept])
    if verdict.kind is GapKind.MISSING:
        place = ", ".join(f"{value:.2f}" for value in positions[verdict.first_gap])
        words = f"about {verdict.missing} slices are missing, the first behind ({place}) mm"
        return None, (_error("missing_slices", words),)
    findings: tuple[Finding, ...] = ()
    count = len(kept) if verdict.kind is GapKind.REGULAR else int(np.floor(along[-1] / verdict.step_mm + 0.5)) + 1
    # The line from the first to the last slice carries the grid: rounding of single positions averages out.
    step = (positions[-1] - positions[0]) / (len(kept) - 1)
    step_mm = float(step @ normal)
    if verdict.kind is GapKind.NONUNIFORM:
        step *= along[-1] / (count - 1) / step_mm
        step_mm = float(step @ normal)
        smallest, largest = float(np.min(np.diff(along))), float(np.max(np.diff(along)))
        words = f"steps of {smallest:.3f} to {largest:.3f} mm, resampled to {step_mm:.3f} mm"
        findings += (_warning("nonuniform_spacing", words),)
    first = kept[0]
    row, column = np.array(first.row_direction), np.array(first.column_direction)
    affine = np.eye(4)
    affine[:3, 0] = row / np.linalg.norm(row) * first.spacing_mm[1]
    affine[:3, 1] = column / np.linalg.norm(column) * first.spacing_mm[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    ijk = np.linalg.solve(affine[:3, :3], (positions - positions[0]).T).T
    regular = verdict.kind is GapKind.REGULAR
    offsets = ijk[:, :2]
    strays = bool(np.max(np.abs(offsets)) > STRAY_LIMIT_PX)
    if strays:
        words = f"slices lie up to {float(np.max(np.abs(offsets))):.1f} voxels beside their line, moved back"
        findings += (_warning("nonuniform_spacing", words),)
    grid = VolumeGrid(
        shape_kji=(count, first.rows, first.columns),
        affine_lps_from_ijk=affine,
        order=tuple(one.key for one in kept),
        source_k=np.arange(len(kept), dtype=np.float64) if regular else ijk[:, 2],
        offsets_ij=offsets.copy() if strays else np.zeros_like(offsets),
    )
    return grid, findings


def _direction_findings(grid: VolumeGrid, normal: F64) -> tuple[Finding, ...]:
    findings = []
    step = grid.affine_lps_from_ijk[:3, 2]
    lean_deg = float(np.rad2deg(np.arccos(np.clip(step @ normal / np.linalg.norm(step), -1, 1))))
    if lean_deg > TILT_TOLERANCE_DEG:
        findings.append(_warning("gantry_tilt", f"slices step {lean_deg:.1f} degrees off their normal; kept sheared"))
    from_axis_deg = float(np.rad2deg(np.arccos(np.clip(abs(normal[2]), 0, 1))))
    if from_axis_deg > AXIAL_LIMIT_DEG:
        findings.append(_warning("not_axial", f"planes stand {from_axis_deg:.0f} degrees off the axial plane"))
    return tuple(findings)


def _edge_findings(kept: Sequence[SliceDescription]) -> tuple[Finding, ...]:
    share = float(np.mean([one.edge_tissue for one in kept]))
    if share <= EDGE_TISSUE_LIMIT:
        return ()
    return (_warning("truncated_field_of_view", f"the patient crosses {100 * share:.0f} % of the field's edge"),)


def _error(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, message=message)


def _warning(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, message=message)


def _errors_first(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: finding.severity is not Severity.ERROR))
