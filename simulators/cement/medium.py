"""What cement flows through: how fast and how much of it, from CT values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from guidance.errors import ConfigError
from guidance.messages import F32, F64, U8, Vector3
from simulators.volumes import HuVolume

Bools = npt.NDArray[np.bool_]

# Flow through marrow falls with the bone in it; orders of magnitude from the permeability of cancellous bone against
# its porosity (Nauman, Fong & Keaveny, Ann. Biomed. Eng. 27, 1999: two decades from 0.95 to 0.6).
_USUAL_HU: Final = 230.0
_DECADE_HU: Final = 450.0
_CORTEX_HU: Final = 560.0  # no cement passes what is denser
_MARROW_HU: Final = 90.0  # less is no bone: soft tissue, or a hole in the bone
_SOLID_HU: Final = 1600.0  # a voxel of bone only
_LUMPS_MM: Final = 2.5  # size of what is coarser and finer in marrow
_LUMPS: Final = 0.45  # standard deviation of the logarithm of its speed
_ROOM_MM: Final = 5.0
_NEAR_MM: Final = 9.0  # round the tip: there the speed is 1 in the median
_SLOWEST, _FASTEST_MARROW, _FASTEST = 0.1, 12.0, 40.0
_EMPTY: Final = 0.97  # capacity where there is no bone


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Medium:
    """A grid that cement can flow through; all arrays `[k, j, i]`.

    Attributes:
        affine_lps_from_ijk: (4, 4), axial, one spacing.
        hu: CT values.
        speed: of the front, relative to the marrow round the tip; 0: no way.
        capacity: share of a voxel that cement can take.
        site_of: 0 bone; else an index of `site_names`.
    """

    affine_lps_from_ijk: F64
    hu: F32
    speed: F32
    capacity: F32
    site_of: U8
    site_names: tuple[str, ...] = ("bone",)

    @property
    def spacing_mm(self) -> float:
        return float(self.affine_lps_from_ijk[0, 0])

    def points_lps_mm(self) -> F32:
        """(k, j, i, 3) voxel centres."""
        return _centres(self.hu.shape, self.affine_lps_from_ijk)

    def index_of(self, point_lps_mm: Vector3 | F64) -> tuple[int, int, int]:
        """(k, j, i) of the nearest voxel, within the grid."""
        return _index(point_lps_mm, self.affine_lps_from_ijk, self.hu.shape)


def bone_medium(
    patient: HuVolume,
    seed_lps_mm: Vector3,
    *,
    spacing_mm: float,
    half_mm: Vector3,
    seed: int,
    also_lps_mm: Sequence[Vector3] = (),
    hole_mm: Callable[[F32], F32] | None = None,
) -> Medium:
    """The marrow around a place, closed by its cortex.

    Args:
        patient: CT; what is finer than its voxels is not seen.
        seed_lps_mm: a place in the marrow; what hangs together with it counts.
        spacing_mm: of the grid.
        half_mm: half the grid's size along x, y, z about that place.
        seed: of what is coarser and finer in the marrow.
        also_lps_mm: places that shall be on the grid too, with some mm around them.
        hole_mm: (..., 3) LPS mm -> (...,) distance to where bone is gone, negative within; None: nowhere.

    Raises:
        ConfigError: `not_in_bone`: no marrow at the place.
    """
    low, high = np.subtract(seed_lps_mm, half_mm), np.add(seed_lps_mm, half_mm)
    for place in also_lps_mm:
        low, high = np.minimum(low, np.subtract(place, _ROOM_MM)), np.maximum(high, np.add(place, _ROOM_MM))
    count = np.ceil((high - low) / spacing_mm).astype(int) + 1
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = low
    swap = np.eye(4)[[2, 1, 0, 3]]  # the arrays are [k, j, i]
    matrix = swap @ np.linalg.inv(patient.affine_lps_from_ijk) @ affine @ swap
    hu: F32 = ndimage.affine_transform(
        patient.voxels_hu,
        matrix[:3, :3],
        matrix[:3, 3],
        tuple(int(n) for n in count[::-1]),
        output=np.float32,
        order=1,
        mode="constant",
        cval=-1000.0,
    )
    passable = (hu > _MARROW_HU) & (hu < _CORTEX_HU)
    if hole_mm is not None:
        passable |= (hole_mm(_centres(hu.shape, affine)) <= 0.0) & (hu < _CORTEX_HU)
    parts, _ = ndimage.label(passable)
    middle = _index(seed_lps_mm, affine, hu.shape)
    if not parts[middle]:
        raise ConfigError(
            f"there is no marrow at {seed_lps_mm}: {hu[middle]:.0f} HU",
            code="not_in_bone",
            mend=f"a tip in bone of {_MARROW_HU:g} to {_CORTEX_HU:g} HU, or a hole there",
        )
    marrow = parts == parts[middle]
    reach = int(_NEAR_MM / spacing_mm)
    lumps = _lumps(hu.shape, spacing_mm, seed)
    speed = np.power(10.0, (_USUAL_HU - hu) / np.float32(_DECADE_HU)) * np.exp(np.float32(_LUMPS) * lumps)
    around = tuple(slice(max(m - reach, 0), m + reach + 1) for m in middle)
    near = marrow[around]
    if near.any():
        speed /= np.median(speed[around][near])
    speed = np.clip(speed, _SLOWEST, _FASTEST_MARROW).astype(np.float32)
    speed[~marrow] = 0.0
    capacity = np.clip(1.0 - hu / np.float32(_SOLID_HU), 0.05, _EMPTY).astype(np.float32)
    return Medium(
        affine_lps_from_ijk=affine, hu=hu, speed=speed, capacity=capacity, site_of=np.zeros(hu.shape, np.uint8)
    )


def opened(medium: Medium, inside: Bools, speed: float, name: str | None) -> Medium:
    """The medium with one more region that cement can enter; marrow in it stays marrow, and becomes as fast.

    Args:
        inside: `[k, j, i]` the region.
        speed: relative to the marrow round the tip.
        name: of its site; None: it still is bone.
    """
    new_speed, capacity, site_of = medium.speed.copy(), medium.capacity.copy(), medium.site_of.copy()
    new_speed[inside] = np.clip(np.maximum(new_speed[inside], np.float32(speed)), 0.0, _FASTEST)
    outside = inside & (medium.speed <= 0.0)
    capacity[outside] = _EMPTY
    if name is None:
        return replace(medium, speed=new_speed, capacity=capacity)
    names = medium.site_names if name in medium.site_names else (*medium.site_names, name)
    site_of[outside] = names.index(name)
    return replace(medium, speed=new_speed, capacity=capacity, site_of=site_of, site_names=names)


def closed(medium: Medium, inside: Bools) -> Medium:
    """The medium with a region that nothing enters: metal, old cement."""
    speed = medium.speed.copy()
    speed[inside] = 0.0
    return replace(medium, speed=speed)


def _index(point_lps_mm: Vector3 | F64, affine_lps_from_ijk: F64, shape: tuple[int, ...]) -> tuple[int, int, int]:
    ijk = (np.asarray(point_lps_mm) - affine_lps_from_ijk[:3, 3]) / affine_lps_from_ijk[0, 0]
    k, j, i = np.clip(np.rint(ijk[::-1]).astype(int), 0, np.array(shape) - 1)
    return int(k), int(j), int(i)


def _centres(shape: tuple[int, ...], affine_lps_from_ijk: F64) -> F32:
    k, j, i = (np.arange(n, dtype=np.float32) for n in shape)
    step, first = np.float32(affine_lps_from_ijk[0, 0]), affine_lps_from_ijk[:3, 3].astype(np.float32)
    zz, yy, xx = np.meshgrid(first[2] + step * k, first[1] + step * j, first[0] + step * i, indexing="ij")
    return np.stack([xx, yy, zz], axis=-1)


def _lumps(shape: tuple[int, ...], spacing_mm: float, seed: int) -> F32:
    """Normal deviates that hang together over some mm."""
    white = np.random.default_rng([seed, 0x10B5]).standard_normal(shape, np.float32)
    smooth: F32 = ndimage.gaussian_filter(white, _LUMPS_MM / spacing_mm)
    smooth /= np.float32(max(float(smooth.std()), 1e-6))
    return smooth
