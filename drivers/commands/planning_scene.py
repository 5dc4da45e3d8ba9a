"""What `guidance bench planning` plans in: the procedural pelvis on a grid of any size, ten zones, a turning C-arm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np

from guidance.geometry.camera import ConeBeamCamera
from guidance.geometry.detector import detector_of_picture
from guidance.geometry.positioner import CArmPose
from guidance.messages import F64, MaskShape, Matrix34, PlannedPath, Vector3, Zone, ZoneKind, ZoneSide, ZoneSite
from guidance.planning.occupancy import Occupancy
from guidance.planning.volume import PlanningVolume
from simulators.pelvis import ProceduralPelvis
from simulators.pelvis_shapes import Grid, Tube

SIDE_PX: Final = 1024
FIELD_MM: Final = 256.0
_MIDDLE_MM: Final = (0.0, -12.0, -20.0)
_MADE_AT: Final = 128  # voxels along each edge: what the pelvis is made of before it is brought onto the grid
_RIM: Final = 1
_BONE_BOXES_MM: Final = {
    "sacrum": ((-64.0, -36.0, -88.0), (64.0, 56.0, 32.0)),
    "left hip": ((16.0, -40.0, -40.0), (112.0, 72.0, 48.0)),
    "right hip": ((-112.0, -40.0, -40.0), (-16.0, 72.0, 48.0)),
}
# As `simulators.pelvis_corridors` finds them; searching them anew would take seconds.
_LINES: Final[tuple[tuple[str, Vector3, Vector3], ...]] = (
    ("S1 transsacral", (100.5, -3.4, 1.2), (-100.5, -3.4, 1.2)),
    ("S1 iliosacral left", (70.1, 12.5, -3.7), (-4.0, -7.3, 3.0)),
    ("S1 iliosacral right", (-70.1, 12.5, -3.7), (4.0, -7.3, 3.0)),
)
_COLORS: Final = ("#d55e00", "#f0e442", "#009e73", "#0072b2", "#cc79a7", "#e69f00")


@dataclass(frozen=True, slots=True, eq=False)
class PlanningScene:
    """A volume with ten zones as label masks.

    Attributes:
        volume: cubic, `FIELD_MM` wide.
        zones: with `MaskShape`s; `masks` holds their voxels by mask id.
        path: a trans-sacral screw.
        other_paths: two more planned ones.
    """

    volume: PlanningVolume
    zones: tuple[Zone, ...]
    masks: dict[str, Occupancy]
    path: PlannedPath
    other_paths: tuple[PlannedPath, ...]


def planning_scene(edge: int) -> PlanningScene:
    """The scene on edge x edge x edge voxels."""
    volume = PlanningVolume(voxels_hu=_voxels(edge), affine_lps_from_ijk=_affine(edge), patient_position="HFP")
    zones: list[Zone] = []
    masks: dict[str, Occupancy] = {}
    organs = [(name, site, side, _rastered(tubes, edge)) for name, site, side, tubes in _organs()]
    for number, (name, site, side, occupancy) in enumerate((*organs, *_bones(edge)), start=1):
        mask_id = f"{edge}-{number}"
        masks[mask_id] = occupancy
        shape = MaskShape(
            mask_id=mask_id,
            shape_kji=occupancy.values.shape,
            affine_lps_from_ijk=tuple(occupancy.affine_lps_from_ijk.ravel().tolist()),
            volume_ml=float(occupancy.values.sum() / 255.0) * (FIELD_MM / edge) ** 3 / 1000.0,
        )
        zones.append(
            Zone(
                id=f"Z{number}",
                name=name,
                site=site,
                side=side,
                kind=ZoneKind.TARGET if site is ZoneSite.BONE else ZoneKind.KEEP_OUT,
                shape=shape,
                color=_COLORS[number % len(_COLORS)],
            )
        )
    path, *others = (
        PlannedPath(
            id=f"P{number}",
            entry_lps_mm=entry,
            target_lps_mm=target,
            diameter_mm=7.3 if number == 1 else 2.8,
            label=label,
            color="#56b4e9",
        )
        for number, (label, entry, target) in enumerate(_LINES, start=1)
    )
    return PlanningScene(volume=volume, zones=tuple(zones), masks=masks, path=path, other_paths=tuple(others))


def dragged(path: PlannedPath, step: int) -> PlannedPath:
    """The path as a hand drags it: another place with every step, within a few mm."""
    turn = 0.7 * step
    offset = np.array([0.3 * np.sin(0.37 * turn), 2.5 * np.sin(turn), 2.5 * np.cos(1.3 * turn)])
    return PlannedPath(
        id=path.id,
        entry_lps_mm=_vector(np.array(path.entry_lps_mm) + offset),
        target_lps_mm=_vector(np.array(path.target_lps_mm) - 0.5 * offset),
        diameter_mm=path.diameter_mm,
        label=path.label,
        color=path.color,
    )


def pose(step: int) -> Matrix34:
    """`pixel_from_patient` of a C-arm that turns half a degree with every step."""
    camera = ConeBeamCamera(
        pose=CArmPose(
            primary_angle_deg=-60.0 + 0.5 * (step % 240),
            secondary_angle_deg=10.0 * float(np.sin(0.1 * step)),
            source_to_detector_mm=1200.0,
            source_to_isocenter_mm=750.0,
        ),
        detector=detector_of_picture(SIDE_PX, SIDE_PX, pitch_row_mm=0.3, pitch_column_mm=0.3),
        isocenter_lps_mm=_MIDDLE_MM,
    )
    return tuple(camera.pixel_from_patient.ravel().tolist())


@lru_cache(maxsize=1)
def _pelvis() -> ProceduralPelvis:
    return ProceduralPelvis()


@lru_cache(maxsize=1)
def _made() -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return _pelvis().volume(FIELD_MM / _MADE_AT, center_lps_mm=_MIDDLE_MM, size_mm=(FIELD_MM,) * 3).voxels_hu


def _affine(edge: int) -> F64:
    spacing_mm = FIELD_MM / edge
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = np.array(_MIDDLE_MM) - (edge - 1) / 2.0 * spacing_mm
    return affine


def _voxels(edge: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    voxels = np.empty((edge, edge, edge), np.int16)
    _brought_onto(_made(), voxels)
    return voxels


def _brought_onto(made: np.ndarray[Any, Any], finer: np.ndarray[Any, Any]) -> None:
    """Linear in all three directions: smooth surfaces, as a finer scan of the same body would have them."""
    count, (slices, rows, columns) = len(made), finer.shape
    at = np.clip((np.arange(slices) + 0.5) * count / slices - 0.5, 0, count - 1)
    below = np.minimum(at.astype(int), count - 2)
    planes = [cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_LINEAR) for plane in made]
    for k, (low, part) in enumerate(zip(below, at - below, strict=True)):
        cv2.addWeighted(planes[low], 1.0 - float(part), planes[low + 1], float(part), 0.0, dst=finer[k])


def _organs() -> list[tuple[str, ZoneSite, ZoneSide | None, list[Tube]]]:
    """Seven: four foramina, the canal, veins that fork in front of the sacrum, a full bladder."""
    pelvis = _pelvis()
    organs: list[tuple[str, ZoneSite, ZoneSide | None, list[Tube]]] = [
        (name, ZoneSite.FORAMEN, ZoneSide(name.rpartition(" ")[2]), [tube])
        for name, tube in pelvis.foramina.items()
        if name.startswith(("S1 ventral", "S2 ventral"))
    ]
    trunk: tuple[Vector3, ...] = ((0.0, -45.0, 70.0), (0.0, -42.0, 55.0), (0.0, -38.0, 40.0))
    left: tuple[Vector3, ...] = ((0.0, -38.0, 40.0), (25.0, -45.0, 10.0), (45.0, -55.0, -30.0), (50.0, -62.0, -50.0))
    right = tuple((-x, y, z) for x, y, z in left)
    return [
        *organs,
        ("canal", ZoneSite.CANAL, ZoneSide.MIDLINE, [pelvis.canal]),
        ("iliac veins", ZoneSite.VEIN, None, [Tube(line, (7.0,) * len(line)) for line in (trunk, left, right)]),
        ("bladder", ZoneSite.OTHER, None, [Tube(((-12.0, -85.0, -95.0), (12.0, -85.0, -95.0)), (24.0, 24.0))]),
    ]


def _bones(edge: int) -> list[tuple[str, ZoneSite, ZoneSide | None, Occupancy]]:
    """Sacrum and what of the hips a cone beam sees: large and rugged surfaces, as label maps have them."""
    return [
        (name, ZoneSite.BONE, side, _bone(name, edge))
        for name, side in (("sacrum", None), ("left hip", ZoneSide.LEFT), ("right hip", ZoneSide.RIGHT))
    ]


def _bone(name: str, edge: int) -> Occupancy:
    spacing_mm, (low, distance) = FIELD_MM / edge, _bone_distance(name)
    finer = np.empty(
        tuple(round(count * 2.0 * FIELD_MM / _MADE_AT / spacing_mm) for count in distance.shape), np.float32
    )
    _brought_onto(distance, finer)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = low + spacing_mm * (0.5 - _RIM)
    return Occupancy(np.pad(np.where(finer < 0.0, 255, 0).astype(np.uint8), _RIM), affine)


@lru_cache(maxsize=3)
def _bone_distance(name: str) -> tuple[F64, np.ndarray[Any, np.dtype[np.float32]]]:
    coarse_mm = 2.0 * FIELD_MM / _MADE_AT
    low, high = (np.array(corner) for corner in _BONE_BOXES_MM[name])
    z, y, x = (np.arange(low[n] + coarse_mm / 2.0, high[n], coarse_mm) for n in (2, 1, 0))
    points = np.stack(np.meshgrid(x, y, z, indexing="ij"), axis=-1).transpose(2, 1, 0, 3)
    measure = _pelvis().sacrum_distance_mm if name == "sacrum" else _pelvis().hip_distance_mm
    return low, measure(points).astype(np.float32)


def _rastered(tubes: list[Tube], edge: int) -> Occupancy:
    """Binary voxels of tubes, cut to them with an empty rim; each piece is looked at only where it is."""
    affine = _affine(edge)
    spacing_mm, first = float(affine[0, 0]), affine[:3, 3]
    boxes = np.array([tube.box_mm() for tube in tubes])
    low = np.floor((boxes[:, 0].min(axis=0) - first) / spacing_mm).astype(int)
    high = np.ceil((boxes[:, 1].max(axis=0) - first) / spacing_mm).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, edge)
    x, y, z = (np.asarray(first[n] + spacing_mm * np.arange(low[n], high[n]), np.float32) for n in range(3))
    grid, values = Grid(x, y, z), np.zeros((len(z), len(y), len(x)), np.uint8)
    for tube in tubes:
        for n in range(len(tube.points_lps_mm) - 1):
            piece = Tube(tube.points_lps_mm[n : n + 2], tube.radii_mm[n : n + 2])
            if (part := grid.part(*piece.box_mm())) is not None:
                values[part][piece.distance_mm(grid.points(part)) < 0.0] = 255
    placed = affine.copy()
    placed[:3, 3] += spacing_mm * (low - _RIM)
    return Occupancy(np.pad(values, _RIM), placed)


def _vector(point: F64) -> Vector3:
    return (float(point[0]), float(point[1]), float(point[2]))
