"""CT of a patient with the cement that is there by then: a whole scan, or the few thick slices of CT fluoroscopy."""

from __future__ import annotations

from itertools import product
from typing import Final

import numpy as np

from guidance.messages import F32, F64, Vector3
from simulators.cement.grown import GrownCement
from simulators.cement.shadow import cement_material
from simulators.volumes import I16, HuVolume, resampled
from simulators.xray import density_g_cm3, mass_attenuation_cm2_g

_KEV: Final = 65.0  # effective energy behind a body at 120 kV
_HIGHEST_HU: Final = 3071.0  # what a scanner's 12 bits hold
_LOWEST_HU: Final = -1024.0
_PARTS: Final = 2  # places along each edge of a voxel of cement


def cement_hu(brand: str) -> float:
    """CT value of a voxel full of a brand, unclipped."""
    material = cement_material(brand)
    full = density_g_cm3(material) * mass_attenuation_cm2_g(material, _KEV)
    return 1000.0 * (full / mass_attenuation_cm2_g("water", _KEV) - 1.0)


def share_on(grown: GrownCement, t_s: float, affine_lps_from_ijk: F64, shape: tuple[int, int, int]) -> F32:
    """`[k, j, i]` share of another grid's voxels that is cement; what lies on that grid keeps its volume.

    Args:
        t_s: when.
        affine_lps_from_ijk: (4, 4) of the other grid.
        shape: of it.
    """
    share = grown.share_at(t_s)
    where = np.nonzero(share > 0.0)
    amounts = share[where].astype(np.float64) * grown.voxel_ml * 1000.0 / _PARTS**3
    amounts /= abs(np.linalg.det(affine_lps_from_ijk[:3, :3]))
    other_from_own = np.linalg.inv(affine_lps_from_ijk) @ grown.affine_lps_from_ijk
    ijk = np.stack(where[::-1], axis=1).astype(np.float64)
    found = np.zeros(int(np.prod(shape)))
    offsets = (np.arange(_PARTS) + 0.5) / _PARTS - 0.5
    for offset in product(offsets, repeat=3):
        places = (ijk + offset) @ other_from_own[:3, :3].T + other_from_own[:3, 3]
        low = np.floor(places).astype(int)
        part = places - low
        for corner in product((0, 1), repeat=3):
            at = (low + corner)[:, ::-1]
            weights = np.prod(np.where(corner, part, 1.0 - part), axis=1)
            inside = np.all((at >= 0) & (at < shape), axis=1)
            flat = np.ravel_multi_index(tuple(at[inside].T), shape)
            found += np.bincount(flat, (amounts * weights)[inside], found.size)
    return np.minimum(found, 1.0).astype(np.float32).reshape(shape)


def scanned(patient: HuVolume, grown: GrownCement, t_s: float) -> HuVolume:
    """The patient's CT on its own grid, with the cement."""
    shape = patient.voxels_hu.shape
    share = share_on(grown, t_s, patient.affine_lps_from_ijk, (shape[0], shape[1], shape[2]))
    voxels = patient.voxels_hu.copy()
    where = share > 0.0
    voxels[where] = _with_cement(voxels[where].astype(np.float32), share[where], cement_hu(grown.brand))
    return HuVolume(voxels, patient.affine_lps_from_ijk, f"{patient.description}, cement at {t_s:g} s")


def fluoroscopy_slices(
    patient: HuVolume,
    grown: GrownCement,
    t_s: float,
    *,
    center_lps_mm: Vector3,
    count: int = 3,
    thickness_mm: float = 4.0,
    pixel_mm: float = 0.8,
    field_mm: float = 240.0,
    noise_hu: float = 25.0,
    seed: int = 0,
) -> HuVolume:
    """A few axial slices of CT fluoroscopy.

    Args:
        patient: CT values.
        t_s: when.
        center_lps_mm: middle of all of them.
        count, thickness_mm: slices that lie side by side.
        pixel_mm, field_mm: within a slice.
        noise_hu: standard deviation of a pixel.
        seed: of the noise.
    """
    fine = max(round(thickness_mm / pixel_mm), 1)
    cut = resampled(
        patient,
        spacing_mm=pixel_mm,
        center_lps_mm=np.asarray(center_lps_mm),
        size_mm=(field_mm, field_mm, count * fine * pixel_mm),
    )
    _, rows, columns = cut.voxels_hu.shape
    thick = cut.voxels_hu.reshape(count, fine, rows, columns).mean(axis=1, dtype=np.float32)
    affine = cut.affine_lps_from_ijk.copy()
    affine[:3, 3] += affine[:3, 2] * ((fine - 1) / 2.0)
    affine[:3, 2] *= fine
    share = share_on(grown, t_s, affine, (count, rows, columns))
    noise = np.random.default_rng([seed, 0xC7F]).normal(0.0, noise_hu, thick.shape).astype(np.float32)
    voxels = _with_cement(thick, share, cement_hu(grown.brand), noise)
    return HuVolume(voxels, affine, f"{patient.description}, {count} slices at {t_s:g} s")


def _with_cement(hu: F32, share: F32, full_hu: float, noise: F32 | float = 0.0) -> I16:
    mixed = hu + share * (np.float32(full_hu) - hu) + noise
    voxels: I16 = np.clip(np.rint(mixed), _LOWEST_HU, _HIGHEST_HU).astype(np.int16)
    return voxels
