"""A view first looked at with cement in it: what is cement there, against what the volume predicts of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from guidance.cement.body_shadow import BodyShadow
from guidance.cement.kept_views import APART_DEG, KeptView
from guidance.cement.opacity import Opacity
from guidance.cement.predicted_picture import PictureComparison
from guidance.cement.rays import focal_px, source_of
from guidance.cement.reference import ReferencePicture
from guidance.cement.scatter import Scatter
from guidance.cement.space import OpenSpace
from guidance.cement.steel_beside import Marks, rods_in
from guidance.kernels.rod_values import MetalMask
from guidance.messages import F32, F64, CementView, PlannedPath
from guidance.tracking.values import SeenInstrument

_SURE: Final = 5.0  # deviations: of cement on its own ...
_BESIDE: Final = 2.5  # ... and of its rim
_LEAST_BINS: Final = 64  # that are sure: of a region at no path's target
_REACH_MM: Final = 4.0  # on all sides of what the other view showed ...
_SPEEDS_MM_S: Final = (1.0, 5.0)  # ... and the way that a front goes since: as fast as it was told, within these
_START_MM: Final = 5.0  # around a path's target
_PLACES: Final = 1500  # of the other view's cement that are followed through the volume ...
_DEPTH_MM: Final = 4.0  # ... in steps as long as the reach around them
_INSIDE: Final = 0.5  # of a region that lies where the other views let cement be
_LEAST_SHARE: Final = 0.02  # of all the contrast
_LEAST_PRIMARY: Final = 0.01  # less cannot be told from scatter


@dataclass(frozen=True, slots=True, eq=False)
class LateReference:
    """A reference that has cement in it.

    Attributes:
        reference: as it was taken.
        contrast: (R, C) float32 log contrast that the cement adds, scatter as it is; 0 where there is none.
        alike: how alike the picture and what the volume predicts of it are; a hand over a part of it takes much off.
    """

    reference: ReferencePicture
    contrast: F32
    alike: float = 1.0

    @property
    def before(self) -> ReferencePicture:
        """The picture as it would be without that cement."""
        return replace(self.reference, attenuation=np.ascontiguousarray(self.reference.attenuation - self.contrast))

    def told(self, opacity: Opacity | None, scatter: Scatter | None) -> tuple[ReferencePicture, F32]:
        """A reference, and the thickness of the cement in it for the tracker: (rows, columns) of the picture, mm.

        Args:
            opacity: of the cement; None: not known, and then the picture is that without cement.
            scatter: of the picture without cement.
        """
        shape = self.contrast.shape
        if opacity is None or not self.reference.linear:
            return self.before, self._in_pixels((self.contrast > 0.0).astype(np.float32))
        share = np.zeros(shape, np.float32) if scatter is None else scatter.share
        primary = (np.exp(-self.contrast) - share) / (1.0 - share)
        thickness = opacity.thickness_of(-np.log(np.clip(primary, _LEAST_PRIMARY, 1.0)))
        return self.reference, self._in_pixels(np.asarray(thickness, np.float32))

    def _in_pixels(self, grid: F32) -> F32:
        rows, columns = self.reference.picture
        step = self.reference.scale.step
        found = np.zeros((rows, columns), np.float32)
        found[: grid.shape[0] * step, : grid.shape[1] * step] = grid.repeat(step, axis=0).repeat(step, axis=1)
        return found


def late_reference(
    reference: ReferencePicture,
    body: BodyShadow,
    space: OpenSpace,
    views: Sequence[KeptView],
    paths: Sequence[PlannedPath],
    instruments: Sequence[SeenInstrument],
    metal: MetalMask | None = None,
) -> LateReference | None:
    """What cement adds to a reference that has some in it.

    The volume predicts the picture up to its contrast's scale (scatter) and what is wide (thickness beyond the volume);
    both are fitted to what is neither cement nor steel. What is denser then, lies where the other views let cement be
    and is no instrument, is cement.

    Args:
        reference: of the pose, geometry with it.
        body: what the volume predicts of it, in `PREDICTED_BINS`.
        space: of the volume.
        views: that have shown cement, from elsewhere or from here.
        paths: at whose targets cement comes out.
        instruments: seen in the picture.
        metal: of the volume and of screws, in the picture; a volume does not tell how much it takes off, so that cement
            before or behind it is not known.

    Returns:
        None where the picture is not what the volume predicts, so that nothing can be told.
    """
    assert reference.pixel_from_patient is not None
    step = reference.scale.step
    shift = (step - 1) / 2.0
    to_grid = np.array([[1.0 / step, 0.0, -shift / step], [0.0, 1.0 / step, -shift / step], [0.0, 0.0, 1.0]])
    pixel_from_patient = np.array(reference.pixel_from_patient, np.float64).reshape(3, 4)
    matrix = to_grid @ (pixel_from_patient / np.linalg.norm(pixel_from_patient[2, :3]))
    told = PictureComparison(reference, body, _missing_mm(space, matrix, reference.attenuation.shape))
    if not told.agrees:
        return None
    mm = depth_mm_of(paths, space, matrix) / focal_px(matrix)
    rods = rods_in(instruments, to_grid, told.left, mm)
    steel = np.zeros(told.left.shape, np.bool_)
    for rod in rods:
        steel |= rod.bare
    v, u = np.indices(steel.shape, np.float64) * step + shift
    dark = np.zeros_like(steel) if metal is None else metal.covers(np.stack((u, v), axis=-1))
    starts = _starts(paths, matrix, told.left.shape, _START_MM / mm)
    reaches = [_reach_mm(one.view, reference.until_ns) / mm for one in views]
    where = _where_others_let(views, space, matrix, told.left.shape, reaches)
    marks, unknown = _cement(told, where, starts, steel | dark)
    unknown |= dark & (starts if where is None else where | starts)
    covered, beside = np.zeros_like(marks), marks.copy()
    for rod in rods:
        covered |= rod.filled(marks) | (rod.marks & marks)
        beside &= ~rod.marks
    if covered.any() and beside.any():
        # Before and behind steel lies what lies beside it.
        sides, width = beside.astype(np.float32), max(rod.width for rod in rods)
        there, weight = (cv2.GaussianBlur(n, (0, 0), width) for n in (told.left * sides, sides))
        told.left[covered] = (there / np.maximum(weight, np.float32(1e-4)))[covered]
    contrast = np.where(marks | covered, np.maximum(told.left, np.float32(0.0)), np.float32(0.0))
    clear = replace(reference, valid=np.ascontiguousarray(reference.valid & ~(unknown & ~covered)))
    return LateReference(clear, np.asarray(contrast, np.float32), told.alike)


def front_mm_s(view: CementView) -> float:
    """How fast a front goes, as it was told and within what fronts do."""
    slowest, fastest = _SPEEDS_MM_S
    if view.front_speed_px_s is None or view.mm_per_px is None:
        return slowest
    return float(np.clip(view.front_speed_px_s * view.mm_per_px, slowest, fastest))


def _reach_mm(view: CementView, now_ns: int) -> float:
    """How far beyond what a view showed cement may be by now."""
    return _REACH_MM + front_mm_s(view) * max(now_ns - view.received_ns, 0) / 1e9


def depth_mm_of(paths: Sequence[PlannedPath], space: OpenSpace, matrix: F64) -> float:
    """w at which cement is, roughly: at a path's target, else in the volume's middle."""
    middle = np.asarray(space.grid.origin_lps_mm) + space.grid.spacing_mm * np.asarray(space.grid.shape_kji[::-1]) / 2.0
    point = np.asarray(paths[0].target_lps_mm) if paths else middle
    return max(float(matrix[2, :3] @ point + matrix[2, 3]), 100.0)


def _cement(
    told: PictureComparison,
    where: Marks | None,
    starts: Marks,
    steel: Marks,
) -> tuple[Marks, Marks]:
    """Regions denser than predicted where the other views, or the paths, let cement be; and what hangs together with
    those but lies where no cement can be, so that it is not known what it is.
    """
    deviations = told.deviations
    dense = ((deviations > _BESIDE) & told.known & ~steel).astype(np.uint8)
    count, labels = cv2.connectedComponents(dense, connectivity=8)
    flat = labels.ravel()
    bins = np.bincount(flat, minlength=count).astype(np.float64)
    total = np.bincount(flat, weights=told.left.ravel(), minlength=count)
    sure = np.bincount(flat, weights=(deviations > _SURE).ravel(), minlength=count)
    begins = np.bincount(flat, weights=starts.ravel(), minlength=count) > 0.0
    taken = begins & (sure > 0.0)
    if where is not None:
        within = np.bincount(flat, weights=where.ravel(), minlength=count)
        taken = (begins | (within > _INSIDE * bins)) & (within > 0.0) & (sure > _LEAST_BINS)
    taken[0] = False
    if taken.any():
        taken &= total > _LEAST_SHARE * float(total[taken].sum())
    marks = np.asarray(taken[labels], np.bool_)
    if where is None:
        return marks, np.zeros_like(marks)
    touching = (within > 0.0) & (sure > _LEAST_BINS)
    touching[0] = False
    unknown = np.asarray(touching[labels] & ~(where & marks), np.bool_) & ~starts
    return marks & ~unknown, unknown


def starts_px(paths: Sequence[PlannedPath], matrix: F64) -> list[tuple[float, float]]:
    """Where cement comes out, in a picture."""
    seen = [matrix[:, :3] @ np.asarray(path.target_lps_mm) + matrix[:, 3] for path in paths]
    return [(float(u / w), float(v / w)) for u, v, w in seen if w > 1.0]


def _starts(paths: Sequence[PlannedPath], matrix: F64, shape: tuple[int, ...], reach: float) -> Marks:
    found = np.zeros(shape, np.uint8)
    for u, v in starts_px(paths, matrix):
        if max(abs(u), abs(v)) < 8.0 * max(shape):
            cv2.circle(found, (round(u), round(v)), max(1, round(reach)), (1,), -1)
    return found > 0


def _where_others_let(
    views: Sequence[KeptView], space: OpenSpace, matrix: F64, shape: tuple[int, ...], reaches: Sequence[float]
) -> Marks | None:
    """Where the cement of other views can be in this one, at any depth in the volume; None: they tell nothing.

    Args:
        reaches: bins around each view's cement.
    """
    found: Marks | None = None
    first = np.asarray(space.grid.origin_lps_mm)
    last = first + space.grid.spacing_mm * (np.asarray(space.grid.shape_kji[::-1]) - 1)
    corners = np.stack(np.meshgrid(*zip(first, last, strict=True), indexing="ij"), axis=-1).reshape(-1, 3)
    direction = matrix[2, :3] / np.linalg.norm(matrix[2, :3])
    for one, reach in zip(views, reaches, strict=True):
        if abs(float(one.direction @ direction)) > np.cos(np.deg2rad(APART_DEG)):
            continue
        mask, other = one.view.mask, one.pixel_from_patient
        if mask is None or not mask.any():
            continue
        v, u = np.nonzero(mask)
        every = max(1, len(u) // _PLACES)
        rays = np.column_stack([u[::every], v[::every], np.ones(len(u[::every]))]) @ np.linalg.inv(other[:, :3]).T
        source = source_of(other)
        w = (corners - source) @ other[2, :3]
        depths = np.arange(max(float(w.min()), 50.0), max(float(w.max()), 60.0), _DEPTH_MM)
        points = (source + depths[:, None, None] * rays[None]).reshape(-1, 3)
        points = points[((points >= first) & (points <= last)).all(axis=1)]
        seen = points @ matrix[:, :3].T + matrix[:, 3]
        place = np.rint(seen[:, :2] / seen[:, 2:]).astype(np.intp)
        place = place[((place >= 0) & (place < np.array(shape[::-1]))).all(axis=1)]
        here = np.zeros(shape, np.uint8)
        here[place[:, 1], place[:, 0]] = 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, round(reach)) + 1,) * 2)
        lets = cv2.dilate(here, kernel) > 0
        found = lets if found is None else found & lets
    return found


def _missing_mm(space: OpenSpace, matrix: F64, shape: tuple[int, ...]) -> F32:
    """(R, C) how much of each ray leaves the volume by its sides, where the body may go on."""
    rows, columns = shape
    first = np.asarray(space.grid.origin_lps_mm)
    last = first + space.grid.spacing_mm * (np.asarray(space.grid.shape_kji[::-1]) - 1)
    step = 8
    v, u = np.mgrid[0 : max(rows // step, 2), 0 : max(columns // step, 2)] * float(step) + (step - 1) / 2.0
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(matrix[:, :3]).T
    rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    rays = np.where(np.abs(rays) < 1e-9, 1e-9, rays)
    source = source_of(matrix)
    one, two = (first - source) / rays, (last - source) / rays
    enters, leaves = np.minimum(one, two), np.maximum(one, two)
    main = int(np.argmax(np.abs(matrix[2, :3])))
    across = leaves[..., main] - enters[..., main]
    inside = np.maximum(leaves.min(axis=-1) - enters.max(axis=-1), 0.0)
    return np.asarray(cv2.resize((across - inside).astype(np.float32), (columns, rows)), np.float32)
