"""A picture held against a volume's projection in coarse bins: the native kernels' face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from guidance.kernels import _core
from guidance.messages import F64

F32 = npt.NDArray[np.float32]

PLANES: Final = 8
"""Of a template: weight, projection, its change per unit of six small motions."""
PARAMETERS: Final = 7
"""Of a fit: gain, then gain times motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Bins over a picture.

    Attributes:
        rows, columns: bins.
        step: pixels per bin and axis; bins begin at pixel 0, what is left over at the end is not used.
    """

    rows: int
    columns: int
    step: int

    @property
    def origin_px(self) -> float:
        """Pixel coordinate, both ways, of the first bin's middle."""
        return (self.step - 1) / 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """A picture made comparable.

    Attributes:
        normalised: high-passed, over the local contrast.
        core: 1 where it is valid with valid neighbours, else 0.
        contrast: local contrast.
        whole: contrast of all that is valid.
        usual: median local contrast.
        noise: standard deviation of what differs from bin to bin, after smoothing.
    """

    normalised: F32
    core: F32
    contrast: F32
    whole: float
    usual: float
    noise: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """What `fit_motion` found.

    Attributes:
        parameters: (7,) gain, then gain times the motion (mm, deg).
        normal: (7, 7) weighted normal matrix.
        variance: weighted mean square of the differences.
        weight, plain_weight: sums of the robust weights, and of those before.
        similarity: correlation of picture and fit, -1 to 1.
        similarity_told: correlation of picture and projection without motion.
        similarity_robust: of picture and fit, robust weights.
    """

    parameters: F64
    normal: F64
    variance: float
    weight: float
    plain_weight: float
    similarity: float
    similarity_told: float
    similarity_robust: float


class WatchProjector:
    """A small volume's projection and its moment along the view, fast enough for every frame.

    Args:
        voxels: `[k, j, i]` int16, negative ones count as nothing.
        affine_lps_from_ijk: (4, 4).

    Raises:
        ValueError: empty, or a non-finite affine.
    """

    def __init__(self, voxels: npt.NDArray[np.int16], affine_lps_from_ijk: F64) -> None:
        self._native = _core.WatchVolume(
            np.ascontiguousarray(voxels), np.ascontiguousarray(affine_lps_from_ijk[:3], np.float64)
        )

    def project(self, pixel_from_lps: F64, grid: Grid, depth_mm: float) -> tuple[F32, F32]:
        """Integrate along the rays through the bins' middles.

        Args:
            pixel_from_lps: (3, 4) float64, w in mm, > 0 in front of the source.
            depth_mm: w that moments are about.

        Returns:
            (rows, columns) value times mm, and value times (w - depth_mm) times mm; zero where the source stands
            within the volume's planes or the volume is behind it.
        """
        sums = np.empty((grid.rows, grid.columns), np.float32)
        moments = np.empty_like(sums)
        origin = grid.origin_px
        self._native.project(pixel_from_lps, origin, origin, float(grid.step), depth_mm, sums, moments)
        return sums, moments


def bin_picture(pixels: npt.NDArray[Any], grid: Grid, *, logarithm: bool, bright: bool) -> tuple[F32, F32, float]:
    """Relative attenuation in coarse bins.

    Args:
        pixels: (rows, columns) uint8, int8, uint16, int16 or float32, C order.
        logarithm: the numbers are proportional to what the detector got.
        bright: more X-ray gives higher values.

    Returns:
        attenuation, valid (0 where saturated, black, at a plateau of the lowest or highest number, or not finite), and
        the share of bins at such a plateau.
    """
    attenuation = np.empty((grid.rows, grid.columns), np.float32)
    valid = np.empty_like(attenuation)
    plateau = _core.watch_bins(pixels, grid.step, logarithm, bright, attenuation, valid)
    return attenuation, valid, plateau


def picture_layer(
    attenuation: F32, valid: F32, *, mean_radius: int, contrast_radius: int, floor: float, metal: float, rounds: int
) -> Shown:
    """Take the local mean away and divide by the local contrast, over what is valid and not metal.

    Args:
        attenuation: (rows, columns).
        valid: (rows, columns) 1 or 0; bins with metal in or beside them become 0 in it.
        mean_radius, contrast_radius: of square windows, bins.
        floor: share of the whole picture's contrast that is added (in quadrature) to the local one.
        metal: times the median size of what is high-passed, beyond which it is too dense for bone.
        rounds: of looking for metal; what is left out first hid what lies beside it.
    """
    normalised = np.empty_like(attenuation)
    core = np.empty_like(attenuation)
    contrast = np.empty_like(attenuation)
    whole, usual, noise = _core.watch_layer(
        attenuation, valid, mean_radius, contrast_radius, floor, metal, rounds, normalised, core, contrast
    )
    return Shown(normalised=normalised, core=core, contrast=contrast, whole=whole, usual=usual, noise=noise)


def motion_template(
    sums: F32,
    moments: F32,
    pixel_from_lps: F64,
    pivot_lps_mm: F64,
    grid: Grid,
    depth_mm: float,
    *,
    mean_radius: int,
    contrast_radius: int,
    floor: float,
) -> tuple[F32, float]:
    """The contrast-normalised projection and what six small motions of the volume do to it.

    Structure at depth w on the ray through (u, v) is displaced by (near) / w + (far), both linear in the motion; with
    1 / w taken as linear about `depth_mm` the projection and its moment are all that is needed.

    Args:
        sums, moments: of `WatchProjector.project`, same matrix, grid and depth.
        pivot_lps_mm: (3,) about which turns turn.

    Returns:
        (8, rows, columns), and the contrast of the whole where anything is.
    """
    planes = np.empty((PLANES, grid.rows, grid.columns), np.float32)
    origin = grid.origin_px
    whole = _core.watch_template(
        sums,
        moments,
        pixel_from_lps,
        pivot_lps_mm,
        origin,
        origin,
        float(grid.step),
        depth_mm,
        mean_radius,
        contrast_radius,
        floor,
        planes,
    )
    return planes, whole


def fit_motion(picture: F32, valid: F32, template: F32, prior: F64, *, rounds: int = 4, cut: float = 1.5) -> Fit:
    """The motion that takes the projection to the picture, by least squares reweighted after Cauchy.

    Args:
        picture, valid: normalised picture, and which of its bins count.
        template: of `motion_template`.
        prior: (6,) inverse variances of the motion, mm and deg.
        rounds: of reweighting.
        cut: robust standard deviations at which a bin's weight is halved.
    """
    parameters = np.zeros(PARAMETERS)
    normal = np.zeros((PARAMETERS, PARAMETERS))
    numbers = _core.watch_fit(picture, valid, template, prior, rounds, cut, parameters, normal)
    variance, weight, plain_weight, similarity, told, robust = numbers
    return Fit(
        parameters=parameters,
        normal=normal,
        variance=variance,
        weight=weight,
        plain_weight=plain_weight,
        similarity=similarity,
        similarity_told=told,
        similarity_robust=robust,
    )


def best_shift(picture: F32, valid: F32, weight: F32, projection: F32, *, reach: int) -> tuple[int, int, float]:
    """Whole bins (columns, rows) by which the picture lies off the projection, and their correlation there."""
    columns, rows, correlation = _core.watch_shift(picture, valid, weight, projection, reach)
    return columns, rows, correlation
