"""What planning's figures stand beside: scipy's distances, plain NumPy, OpenCV's contours; and a live frame."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy import ndimage

from drivers.commands.planning_scene import SIDE_PX, PlanningScene
from guidance.config import OverlaySettings
from guidance.geometry.camera import project
from guidance.kernels import compose_frame, frame_buffers
from guidance.messages import (
    F64,
    FluoroFrame,
    GeometryState,
    GeometryVerdict,
    Matrix34,
    PathProjection,
    PlannedPath,
)
from guidance.overlay.scene import frame_scene
from guidance.overlay.zones import NO_ZONES, ZonesOnPicture
from guidance.planning.occupancy import SURFACE_LEVEL, Occupancy
from guidance.planning.surface import ZoneSurface
from guidance.session import InputTrack

_STEP_MM = 0.5
_POINTS_AT_ONCE = 4096


class Frames:
    """Draws live frames of a scene as the compute thread does: scene, strokes, picture.

    Args:
        scene: path and zones.
        surfaces: of the zones.
    """

    def __init__(self, scene: PlanningScene, surfaces: Sequence[ZoneSurface]) -> None:
        self._path = scene.path
        self._zones = ZonesOnPicture(surfaces=tuple(zip(scene.zones, surfaces, strict=True)))
        pixels = np.random.default_rng(1).integers(0, 4096, (SIDE_PX, SIDE_PX), dtype=np.uint16)
        self._frame = FluoroFrame(device="Fluoro", pixels=pixels, timestamp_igtl=1, received_ns=1)
        self._buffers = {shown: frame_buffers(SIDE_PX, SIDE_PX) for shown in (False, True)}

    def draw(self, matrix: Matrix34, *, zones: bool) -> None:
        """One frame with that pose, with the zones or without."""
        track = InputTrack(
            device="Fluoro",
            frame=self._frame,
            verdict=GeometryVerdict(state=GeometryState.TRUSTED, pixel_from_patient=matrix),
            places=(PathProjection(id=self._path.id, entry_px=None, target_px=None, drawn=True),),
        )
        scene = frame_scene(
            track, (self._path,), OverlaySettings(), age_ms=10.0, zones=self._zones if zones else NO_ZONES
        )
        buffers = self._buffers[zones]
        compose_frame(
            self._frame.pixels,
            0.0,
            4095.0,
            scene.strokes,
            scene.sprites,
            scene.sprite_table,
            buffers.rgb,
            buffers.layer,
            buffers.dirty,
        )


def scipy_distance_mm(occupancy: Occupancy) -> F64:
    """Signed distance to a mask's voxels on its own grid, by scipy: outside and inside."""
    inside = occupancy.values > SURFACE_LEVEL
    spacing_mm = np.linalg.norm(occupancy.affine_lps_from_ijk[:3, :3], axis=0)[::-1]
    outer = ndimage.distance_transform_edt(~inside, sampling=spacing_mm)
    inner = ndimage.distance_transform_edt(inside, sampling=spacing_mm)
    distance: F64 = outer - inner
    return distance


def brute_force_distances_mm(path: PlannedPath, surfaces: Sequence[ZoneSurface]) -> list[float]:
    """Least distance of an instrument's side to each zone's surface points: every point against the whole axis."""
    entry, target = np.array(path.entry_lps_mm), np.array(path.target_lps_mm)
    length_mm = float(np.linalg.norm(target - entry))
    axis = entry + np.linspace(0.0, 1.0, max(int(length_mm / _STEP_MM), 2))[:, None] * (target - entry)
    distances = []
    for surface in surfaces:
        points = surface.vertices_lps_mm.astype(np.float64)
        squares = [
            ((points[start : start + _POINTS_AT_ONCE, None] - axis) ** 2).sum(axis=-1).min()
            for start in range(0, len(points), _POINTS_AT_ONCE)
        ]
        distances.append(float(np.sqrt(min(squares))) - path.diameter_mm / 2.0)
    return distances


def contour_silhouettes(surfaces: Sequence[ZoneSurface], matrix: Matrix34) -> int:
    """Outlines of zones the usual way: fill every triangle's shadow, follow the edge; how many points they have."""
    count = 0
    for surface in surfaces:
        pixels = project(surface.vertices_lps_mm.astype(np.float64), np.array(matrix).reshape(3, 4))[:, :2]
        shadow = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
        for triangle in np.rint(pixels).astype(np.int32)[surface.triangles]:
            cv2.fillConvexPoly(shadow, triangle, 255)
        outlines, _ = cv2.findContours(shadow, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        count += sum(len(outline) for outline in outlines)
    return count
