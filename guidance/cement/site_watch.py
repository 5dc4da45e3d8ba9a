"""All that lies around the cement in one frame: zones, what runs ahead, the paths' tracks, the planned region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from guidance.cement.extension import leaves_along_path, thin_extensions
from guidance.cement.kept_views import moved
from guidance.cement.outside import outside_bone_ml
from guidance.cement.reach import Reach
from guidance.cement.shadows import GEOMETRY_SIGMA_MM, ZoneShadows
from guidance.cement.space import OpenSpace
from guidance.cement.tracks import bone_exit_mm, path_tracks, zones_on_paths
from guidance.cement.values import CementScene
from guidance.messages import F64, CementBody, CementSeen, CementView, Matrix34, PlannedPath, SiteInView
from guidance.overlay.zones import NO_ZONES

# What the geometry tells of a shift and what the picture shows of it, from one frame to the next: more apart than this
# is another registration, and not a patient who moves.
_ANOTHER_PLACE_MM: Final = 4.0
_SAME_GANTRY: Final = 0.02  # of the focal length, as kept_views has it
_SINGULAR: Final = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class _Anchor:
    """Where the reference picture of one device lies, and its newest frame.

    Attributes:
        reference: (3, 4) pixel of the reference from patient.
        told: (3, 4) of the newest frame.
        picture_from_reference: (3, 3) of the newest frame.
        shape: of its picture.
    """

    reference: F64
    told: F64
    picture_from_reference: F64
    shape: tuple[int, int]


class SiteWatch:
    """Looks around the cement frame by frame; one thread, one run after the other."""

    def __init__(self) -> None:
        self._zones = NO_ZONES
        self._shadows = ZoneShadows(NO_ZONES)
        self._anchors: dict[str, _Anchor] = {}
        self._paths: tuple[PlannedPath, ...] = ()
        self._space: OpenSpace | None = None
        self._exits_mm: dict[str, float | None] = {}
        self._reach: Reach | None = None
        self._on_paths: Mapping[str, tuple[str, float]] = {}
        self._outside: tuple[CementBody | None, float | None] = (None, None)

    def begun_anew(self) -> None:
        """Another run, or another registration, holds from the next frame on: zones lie where that puts them."""
        self._anchors = {}

    def seen(
        self,
        run: int,
        view: CementView,
        scene: CementScene,
        body: CementBody,
        *,
        space: OpenSpace | None = None,
        geometry_sigma_mm: float = GEOMETRY_SIGMA_MM,
    ) -> CementSeen:
        """The frame with everything around it; the view itself is handed on as it is.

        Zones lie where the patient lies now: the told geometry, and what the picture has moved since the reference.

        Args:
            run: number of the run.
            scene: of this frame.
            body: with this frame in it.
            space: of the active volume, for where paths leave the bone; None: not known.
            geometry_sigma_mm: standard deviation of where the geometry puts a zone, at the isocentre.
        """
        if scene.zones is not self._zones:
            self._zones, self._shadows, self._reach = scene.zones, ZoneShadows(scene.zones), None
        if scene.paths != self._paths or space is not self._space:
            self._paths, self._space, self._reach, self._outside = scene.paths, space, None, (None, None)
            self._exits_mm = {path.id: bone_exit_mm(path, space) for path in scene.paths} if space is not None else {}
        if not view.seen:
            return CementSeen(run=run, view=view, body=body)
        placed = self._placed(view)
        if self._reach is None:
            self._reach = Reach(scene.zones, scene.paths)
            self._on_paths = zones_on_paths(scene.zones, scene.paths)
        if self._outside[0] is not body:
            self._outside = (body, outside_bone_ml(body, space))
        reach_mm = self._reach.left_mm(placed)
        sites = self._shadows.sites(placed, geometry_sigma_mm=geometry_sigma_mm)
        return CementSeen(
            run=run,
            view=view,
            sites=tuple(self._with_ways(site, reach_mm) for site in sites),
            extensions=thin_extensions(placed, scene.paths),
            tracks=path_tracks(placed, scene.paths, self._exits_mm, body, scene.instruments),
            outside_px=self._shadows.outside_px(placed),
            outside_bone_ml=self._outside[1],
            leaves_along_path=leaves_along_path(placed, scene.paths),
            body=body,
        )

    def _with_ways(self, site: SiteInView, reach_mm: Mapping[str, float]) -> SiteInView:
        path_id, path_mm = self._on_paths.get(site.zone_id, ("", None))
        return replace(site, reach_left_mm=reach_mm.get(site.zone_id), path_id=path_id, path_mm=path_mm)

    def _placed(self, view: CementView) -> CementView:
        """The view with the geometry that puts zones where they are now."""
        if view.pixel_from_patient is None or view.mask is None:
            return view
        told = np.array(view.pixel_from_patient, np.float64).reshape(3, 4)
        picture_from_reference = moved(view)
        known = self._anchors.get(view.device)
        if not np.isfinite(told).all() or abs(float(np.linalg.det(told[:, :3]))) < _SINGULAR:
            return replace(view, pixel_from_patient=None)
        if known is not None and _goes_on(known, told, picture_from_reference, view):
            reference = known.reference
        else:
            # What is told of the first frame holds for it; the reference lies where its motion began.
            reference = np.linalg.inv(picture_from_reference) @ told
        self._anchors[view.device] = _Anchor(reference, told, picture_from_reference, _shape_of(view))
        now = picture_from_reference @ reference
        matrix: Matrix34 = tuple(now.ravel().tolist())
        return replace(view, pixel_from_patient=matrix)


def _goes_on(known: _Anchor, told: F64, picture_from_reference: F64, view: CementView) -> bool:
    """Whether the frame is of the same pose and registration as the one before."""
    if known.shape != _shape_of(view):
        return False
    focal_px = float(np.abs(known.told[:2, :3]).max())
    if float(np.abs(told[:, :3] - known.told[:, :3]).max()) > _SAME_GANTRY * focal_px:
        return False
    rows, columns = known.shape
    middle = np.array([(columns - 1) / 2.0, (rows - 1) / 2.0, 1.0])
    shown = (picture_from_reference - known.picture_from_reference) @ middle
    apart_px = np.hypot(*(_isocentre_step_px(known.told, told) - shown[:2]))
    return float(apart_px) * (view.mm_per_px or 1.0) <= _ANOTHER_PLACE_MM


def _isocentre_step_px(before: F64, after: F64) -> F64:
    """How far the told geometry moves what the middle of the picture showed."""
    centre = -np.linalg.solve(before[:, :3], before[:, 3])
    ray = before[2, :3] / np.linalg.norm(before[2, :3])
    point = np.append(centre + 700.0 * ray, 1.0)
    first, second = before @ point, after @ point
    step: F64 = second[:2] / second[2] - first[:2] / first[2]
    return step


def _shape_of(view: CementView) -> tuple[int, int]:
    assert view.mask is not None
    return (view.mask.shape[0], view.mask.shape[1])
