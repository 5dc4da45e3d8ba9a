"""Does a straight corridor through bone exist, and which is the roomiest: searched to a proof, never bent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from guidance.errors import GeometryError
from guidance.kernels.corridor import LineField, LineRules
from guidance.messages import F64, Finding, Severity, Vector3, ZoneKind, ZoneSide, ZoneSite
from guidance.planning.answers import Corridor
from guidance.planning.bone import BoneModel, ZoneField, propose_bone, share_on, union_of, working_spacing_mm
from guidance.planning.distance import GridField
from guidance.planning.line_search import Progress, box_grid, widest_line
from guidance.planning.occupancy import Occupancy
from guidance.planning.pelvic_ring import PelvicRing, ring_of_bone, ring_of_zones
from guidance.planning.sacral_levels import LevelGate, level_gate
from guidance.planning.signed import field_of_share, grid_of, on_grid
from guidance.planning.tunnel import Tunnel, axis_of, exact_tunnel
from guidance.planning.volume import PlanningVolume
from guidance.planning.working_grid import F32, WorkingGrid, box_of

Level = Literal["free", "s1", "s2", "iliosacral"]

MINIMUM_LENGTH_MM: Final = 30.0
"""A `free` corridor is at least this long, so that a scratch at an edge is none."""
END_FACTOR: Final = 1.5
"""So many tunnel radii at each surface end are its end: an axis may be 48 deg off the surface's normal."""

_ASPECT: Final = 4.0  # a free corridor is at least twice as long as wide
_TOLERANCE_MM: Final = 0.15
_STEP_MM: Final = 0.5
_GRID_ERROR: Final = 0.35  # of a voxel: what a field's ridge loses between samples
_RING_REACH_MM: Final = 50.0
_TILT: Final = math.tan(math.radians(20.0))  # of a trans-sacral axis off left-right
_ILIOSACRAL_SLOPES: Final = ((-0.2, 1.2), (-0.8, 0.8))  # to the back, to the head, walking outwards
_RING_BOX_MM: Final = 4.0
_FREE_BOX_MM: Final = 4.0
_FREE_SLOPE_HALF: Final = 0.25
_ANYWHERE_MM: Final = 80.0


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    grid: WorkingGrid
    share: F32
    field: LineField
    field_step_mm: float
    rules: LineRules
    charts: F64
    boxes: F64
    reach_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class _Best:
    tunnel: Tunnel
    bound_mm: float
    grid: WorkingGrid
    side: ZoneSide | None = None


def search_corridor(
    volume: PlanningVolume,
    zones: Sequence[ZoneField],
    *,
    level: Level,
    diameter_mm: float,
    margin_mm: float = 0.0,
    side: ZoneSide | None = None,
    minimum_length_mm: float = MINIMUM_LENGTH_MM,
    bone: BoneModel | None = None,
    progress: Progress | None = None,
) -> Corridor:
    """Find the roomiest straight corridor, or show that none is roomy enough.

    Bone is that of the zones of site bone, else proposed from CT values; keep-out zones are cut out of it. `s1`, `s2`:
    from outer ilium to outer ilium, within 20 deg of left-right, across both sacroiliac joints; `iliosacral`: from
    outer ilium across one joint into the body of S1, its tip at or past the midline; there the joint's own gap (up to
    6 mm, where sacrum and hip face each other) and zones of site si_joint count as solid. `free`: from any surface of
    bone to any other.

    Args:
        zones: those of the volume's frame; levels come from zones named sacrum, S1, hip, where there are some.
        diameter_mm: of the screw, > 0.
        margin_mm: asked all round, >= 0.
        side: of an iliosacral entry; None: both are tried. Of the entry of `s1` and `s2` [left].
        minimum_length_mm: of a free corridor, > 0; its length is also at least twice its tunnel's width.
        bone: the volume's bone where it is known already (saves seconds).
        progress: called with 0 to 1 now and then; what it raises ends the search.

    Raises:
        GeometryError: `bad_corridor_request`: a number out of range; `no_bone`.
    """
    _check(level, diameter_mm, margin_mm, minimum_length_mm)
    asked = _Asked(level, diameter_mm, margin_mm, minimum_length_mm)
    if level == "free":
        best = _free(volume, zones, asked, bone, progress)
        return _answer(asked, best, "from any surface of bone to any other", volume, ())
    ring = ring_of_zones(zones, working_spacing_mm(volume.affine_lps_from_ijk))
    findings: tuple[Finding, ...] = ()
    if ring is None:
        occupancy = bone.solid if bone is not None else propose_bone(volume.voxels_hu, volume.affine_lps_from_ijk)
        ring = ring_of_bone(occupancy, working_spacing_mm(volume.affine_lps_from_ijk))
        findings = (_LEVEL_NOT_VERIFIED,)
    if ring is None:
        return _nothing(asked, "sacrum and hips cannot be told apart in this volume: give zones of sacrum and hips")
    share = _without_keep_outs(ring.solid, ring.grid, zones, joints_too=False)
    solid = field_of_share(share, ring.grid)
    at = _in_sacrum(ring, solid, asked) if findings else None
    if findings and at is None:
        return _nothing(
            asked,
            "no straight line lies in bone from ilium to ilium: the level cannot be told from the volume alone",
            findings,
        )
    gate = level_gate(ring, grid_of(solid), "S2" if level == "s2" else "S1", at)
    if isinstance(gate, str):
        return _nothing(asked, gate, findings)
    best = _through_ring(ring, share, solid, gate, asked, side, progress)
    words = gate.words + (" from the volume alone, not verified" if findings else "")
    return _answer(asked, best, words, volume, findings, swap=level != "iliosacral" and side is not ZoneSide.RIGHT)


@dataclass(frozen=True, slots=True)
class _Asked:
    level: Level
    diameter_mm: float
    margin_mm: float
    length_mm: float

    @property
    def radius_mm(self) -> float:
        return self.diameter_mm / 2.0 + self.margin_mm

    def rules(self, **changes: float | bool) -> LineRules:
        free = self.level == "free"
        return LineRules(
            radius_mm=self.radius_mm,
            end_factor=END_FACTOR,
            length_mm=self.length_mm if free else 0.0,
            aspect=_ASPECT if free else 0.0,
            center_mm=self.length_mm / 8.0 if free else 0.0,
            step_mm=_STEP_MM,
            thin_mm=_STEP_MM,
            tip_inside=self.level == "iliosacral",
        )


_LEVEL_NOT_VERIFIED: Final = Finding(
    code="level_not_verified",
    severity=Severity.WARNING,
    message="the sacral level was judged from the volume alone: no zones name sacrum and hips",
)


def _check(level: str, diameter_mm: float, margin_mm: float, length_mm: float) -> None:
    for name, number, holds in (
        ("diameter_mm", diameter_mm, 0.0 < diameter_mm <= 50.0),
        ("margin_mm", margin_mm, 0.0 <= margin_mm <= 50.0),
        ("minimum_length_mm", length_mm, 1.0 <= length_mm <= 1000.0),
    ):
        if not holds:
            raise GeometryError(f"{name} {number:g} is out of range", code="bad_corridor_request", mend="mm, up to 50")
    if level not in get_args(Level):
        raise GeometryError(
            f"level {level!r} is not known", code="bad_corridor_request", mend=", ".join(get_args(Level))
        )


def _without_keep_outs(share: F32, grid: WorkingGrid, zones: Sequence[ZoneField], *, joints_too: bool) -> F32:
    out = share
    low, high = np.asarray(grid.origin_lps_mm), box_of(grid.shape_kji, grid.affine_lps_from_ijk)[1]
    for zone, field, _ in zones:
        if zone.kind is not ZoneKind.KEEP_OUT or zone.site is ZoneSite.BONE:
            continue
        if zone.site is ZoneSite.SI_JOINT and not joints_too:
            continue
        if np.any(field.bounds_lps_mm[0] > high) or np.any(field.bounds_lps_mm[1] < low):
            continue
        out = np.minimum(out, 1.0 - share_on(field, grid))
    return out


def _free(
    volume: PlanningVolume,
    zones: Sequence[ZoneField],
    asked: _Asked,
    bone: BoneModel | None,
    progress: Progress | None,
) -> _Best | None:
    solid = bone.solid if bone is not None else _solid_of(volume, zones)
    grid = _grid_of(solid)
    share = _without_keep_outs(solid.values.astype(np.float32) / np.float32(255.0), grid, zones, joints_too=True)
    if not (share >= 0.5).any():
        return None
    rules = asked.rules()
    solid_mm = field_of_share(share, grid)
    field = LineField(solid_mm.values_mm, grid_of(solid_mm).origin_lps_mm, grid_of(solid_mm).spacing_mm)
    charts, boxes = _free_boxes(grid, 2.0 * rules.center_mm)
    return _solved(
        _Problem(grid, share, field, grid_of(solid_mm).spacing_mm, rules, charts, boxes, asked.length_mm), progress
    )


def _solid_of(volume: PlanningVolume, zones: Sequence[ZoneField]) -> Occupancy:
    bones = [field for zone, field, _ in zones if zone.site is ZoneSite.BONE]
    if bones:
        return union_of(bones, spacing_mm=working_spacing_mm(volume.affine_lps_from_ijk))
    return propose_bone(volume.voxels_hu, volume.affine_lps_from_ijk)


def _grid_of(solid: Occupancy) -> WorkingGrid:
    affine, (k, j, i) = solid.affine_lps_from_ijk, solid.values.shape
    return WorkingGrid((float(affine[0, 3]), float(affine[1, 3]), float(affine[2, 3])), float(affine[0, 0]), (k, j, i))


def _free_boxes(grid: WorkingGrid, plane_mm: float) -> tuple[F64, F64]:
    """Planes across x, y and z, so dense that every corridor has its middle near one of them."""
    low, high = box_of(grid.shape_kji, grid.affine_lps_from_ijk)
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    charts, boxes = [], []
    for axis in range(3):
        turned = np.roll(np.eye(3), -axis, axis=0)  # e0, e1, e2
        charts.append(np.concatenate([middle, *turned]))
        across = np.roll(half, -axis)
        count = max(math.ceil(2.0 * across[0] / plane_mm), 1)
        ends = np.array([across[1], across[2], 1.0, 1.0])
        halves = np.array([_FREE_BOX_MM, _FREE_BOX_MM, _FREE_SLOPE_HALF, _FREE_SLOPE_HALF])
        for n in range(count):
            boxes.append(box_grid(axis, (n + 0.5 - count / 2.0) * 2.0 * across[0] / count, -ends, ends, halves))
    return np.array(charts), np.concatenate(boxes)


def _in_sacrum(ring: PelvicRing, solid: GridField, asked: _Asked) -> F64 | None:
    """Where the roomiest line from ilium to ilium, of whatever level, crosses the midsagittal plane."""
    field = _ring_field(ring, solid, None)
    charts = _chart(ring, ring.left)
    ends = np.array([_ANYWHERE_MM, _ANYWHERE_MM, _TILT, _TILT])
    boxes = box_grid(0, 0.0, -ends, ends, _ring_halves())
    rules = _Asked("s1", asked.diameter_mm, asked.margin_mm, asked.length_mm).rules()
    found = widest_line(field, rules, charts, boxes, tolerance_mm=0.5, reach_mm=_RING_REACH_MM)
    return None if found is None else axis_of(found.line, charts)[0]


def _through_ring(
    ring: PelvicRing,
    share: F32,
    solid: GridField,
    gate: LevelGate,
    asked: _Asked,
    side: ZoneSide | None,
    progress: Progress | None,
) -> _Best | None:
    rules = asked.rules()
    if asked.level != "iliosacral":
        low = np.array([*gate.low, -_TILT, -_TILT])
        high = np.array([*gate.high, _TILT, _TILT])
        field = _ring_field(ring, solid, gate.gate_mm)
        boxes = box_grid(0, 0.0, low, high, _ring_halves())
        return _solved(
            _Problem(
                ring.grid,
                share,
                field,
                grid_of(solid).spacing_mm,
                rules,
                _chart(ring, ring.left),
                boxes,
                _RING_REACH_MM,
            ),
            progress,
        )
    (back_low, back_high), (head_low, head_high) = _ILIOSACRAL_SLOPES
    boxes = box_grid(
        0, 0.0, np.array([*gate.low, back_low, head_low]), np.array([*gate.high, back_high, head_high]), _ring_halves()
    )
    best: _Best | None = None
    for one, hip, out in ((ZoneSide.LEFT, ring.left_hip, ring.left), (ZoneSide.RIGHT, ring.right_hip, -ring.left)):
        if side is not None and side is not one:
            continue
        field = LineField(
            solid.values_mm,
            grid_of(solid).origin_lps_mm,
            grid_of(solid).spacing_mm,
            reach_plus_mm=on_grid(hip, grid_of(solid)),
            gate_mm=gate.gate_mm,
        )
        found = _solved(
            _Problem(
                ring.grid, share, field, grid_of(solid).spacing_mm, rules, _chart(ring, out), boxes, _RING_REACH_MM
            ),
            progress,
            one,
        )
        if found is not None and (best is None or found.tunnel.radius_mm > best.tunnel.radius_mm):
            best = found
    return best


def _ring_field(ring: PelvicRing, solid: GridField, gate_mm: F32 | None) -> LineField:
    return LineField(
        solid.values_mm,
        grid_of(solid).origin_lps_mm,
        grid_of(solid).spacing_mm,
        reach_plus_mm=on_grid(ring.left_hip, grid_of(solid)),
        reach_minus_mm=on_grid(ring.right_hip, grid_of(solid)),
        gate_mm=gate_mm,
    )


def _chart(ring: PelvicRing, out: F64) -> F64:
    return np.concatenate([ring.center_lps_mm, out, ring.back, ring.head])[None]


def _ring_halves() -> F64:
    return np.array([_RING_BOX_MM, _RING_BOX_MM, _RING_BOX_MM / _RING_REACH_MM, _RING_BOX_MM / _RING_REACH_MM])


def _solved(problem: _Problem, progress: Progress | None, side: ZoneSide | None = None) -> _Best | None:
    found = widest_line(
        problem.field,
        problem.rules,
        problem.charts,
        problem.boxes,
        tolerance_mm=_TOLERANCE_MM,
        reach_mm=problem.reach_mm,
        progress=progress,
    )
    if found is None:
        return None
    tunnel = exact_tunnel(
        found,
        problem.share,
        problem.grid,
        problem.field,
        problem.rules,
        problem.charts,
        reach_mm=problem.reach_mm,
    )
    bound = max(found.bound_mm + _GRID_ERROR * problem.field_step_mm, tunnel.radius_mm + _TOLERANCE_MM)
    return _Best(tunnel, bound, problem.grid, side)


def _nothing(asked: _Asked, reason: str, findings: tuple[Finding, ...] = ()) -> Corridor:
    return Corridor(
        level=asked.level,
        diameter_mm=asked.diameter_mm,
        asked_margin_mm=asked.margin_mm,
        exists=False,
        reason=reason,
        entry_lps_mm=None,
        target_lps_mm=None,
        margin_mm=None,
        largest_diameter_mm=None,
        findings=findings,
    )


def _answer(
    asked: _Asked,
    best: _Best | None,
    words: str,
    volume: PlanningVolume,
    findings: tuple[Finding, ...],
    *,
    swap: bool = False,
) -> Corridor:
    if best is None:
        return _nothing(asked, f"no straight line lies in bone: {words}", findings)
    tunnel = best.tunnel
    # Iliosacral and trans-sacral axes run outwards, to the left; an entry lies at the outer surface.
    entry, target = tunnel.start_lps_mm, tunnel.end_lps_mm
    if swap or asked.level == "iliosacral":
        entry, target = target, entry
    largest = 2.0 * (tunnel.radius_mm - asked.margin_mm)
    exists = tunnel.radius_mm >= asked.radius_mm
    fit = f"{asked.diameter_mm:g} mm with {asked.margin_mm:g} mm all round"
    if exists:
        reason = f"{fit} fits; {words}"
    else:
        reason = f"{fit} does not fit: the roomiest corridor takes {max(largest, 0.0):.1f} mm with that margin; {words}"
        if best.bound_mm >= asked.radius_mm:
            reason += f"; a tunnel of {2.0 * best.bound_mm:.1f} mm width is not excluded"
    return Corridor(
        level=asked.level,
        diameter_mm=asked.diameter_mm,
        asked_margin_mm=asked.margin_mm,
        exists=exists,
        reason=reason,
        entry_lps_mm=_vector(entry),
        target_lps_mm=_vector(target),
        margin_mm=tunnel.radius_mm - asked.diameter_mm / 2.0,
        largest_diameter_mm=largest,
        length_mm=tunnel.length_mm,
        uncertainty_mm=best.bound_mm - tunnel.radius_mm,
        side=best.side,
        findings=findings,
    )


def _vector(point: F64) -> Vector3:
    x, y, z = point.tolist()
    return (x, y, z)
