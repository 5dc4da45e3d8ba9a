"""Pictures of a bead phantom: exact chords of spheres and tube, averaged over each pixel, with exposure and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.calibration.phantom import Phantom
from guidance.messages import F64, Vector3
from simulators.instruments import Cylinder
from simulators.scene import Exposure, poisson_picture
from simulators.xray import density_g_cm3

F32 = npt.NDArray[np.float32]
U16 = npt.NDArray[np.uint16]

_CM_PER_MM: Final = 0.1
_PER_PIXEL: Final = 3  # samples along each side of a pixel where a bead's edge may cross it
_MARGIN_PX: Final = 3.0
# The open field is far above what the detector's range leaves to the phantom's shadow.
_DEFAULT_EXPOSURE: Final = Exposure(kvp=70.0, dose_photons=600.0, level=20000.0, blur_px=0.6)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlacedPhantom:
    """A phantom that somebody laid on the table, and what went wrong with it.

    Attributes:
        phantom: as described.
        equipment_from_phantom: (4, 4).
        points_mm: (N, 3) where its beads really are, in its own frame: as built, not as described.
        missing: beads that fell out.
        false_beads: centre in phantom mm and diameter in mm of balls that are not in the description.
    """

    phantom: Phantom
    equipment_from_phantom: F64
    points_mm: F64
    missing: tuple[int, ...] = ()
    false_beads: tuple[tuple[Vector3, float], ...] = ()


def placed(
    phantom: Phantom,
    *,
    seed: int = 1,
    shift_mm: Vector3 = (4.0, -6.0, 3.0),
    turn_deg: Vector3 = (3.0, -2.0, 5.0),
    missing: tuple[int, ...] = (),
    false_beads: tuple[tuple[Vector3, float], ...] = (),
) -> PlacedPhantom:
    """Lay it on the table, its beads off by its own tolerance.

    Args:
        shift_mm: where its origin comes to lie, equipment axes.
        turn_deg: about equipment x, then y, then z.
    """
    pose = np.eye(4)
    for axis, angle in enumerate(np.radians(turn_deg).tolist()):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(4)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        pose = step @ pose
    pose[:3, 3] = shift_mm
    off = np.random.default_rng([seed, 0xBEAD]).normal(0.0, phantom.tolerance_mm, phantom.points_mm.shape)
    return PlacedPhantom(
        phantom=phantom,
        equipment_from_phantom=pose,
        points_mm=phantom.points_mm + off,
        missing=missing,
        false_beads=false_beads,
    )


def phantom_picture(
    laid: PlacedPhantom,
    pixel_from_equipment: F64,
    size: tuple[int, int],
    *,
    exposure: Exposure = _DEFAULT_EXPOSURE,
    seed: int = 0,
) -> U16:
    """A radiograph of the phantom, LIN (more X-ray gives higher values).

    Args:
        size: (rows, columns).
        seed: of the noise.
    """
    pixel_from_phantom = pixel_from_equipment @ laid.equipment_from_phantom
    transmission = _with_beads(laid, pixel_from_phantom, _body_mm(laid, pixel_from_phantom, size), exposure)
    return poisson_picture(transmission, exposure, seed)


def sphere_chords_mm(centre: F64, radius_mm: float, source: F64, directions: F64) -> F64:
    """Length within a sphere of rays from a source outside it.

    Args:
        centre, source: (3,).
        directions: (..., 3), any length.

    Returns:
        (...,) mm.
    """
    to_centre = centre - source
    # Distance of the ray from the centre by the cross product: differences of large squares would cancel.
    across = np.cross(directions, to_centre) / np.linalg.norm(directions, axis=-1, keepdims=True)
    room = radius_mm**2 - np.einsum("...c,...c->...", across, across)
    chords: F64 = 2.0 * np.sqrt(np.maximum(room, 0.0))
    return chords


def _body_mm(laid: PlacedPhantom, pixel_from_phantom: F64, size: tuple[int, int]) -> F32:
    thickness = np.zeros(size, np.float32)
    body = laid.phantom.body
    if body is None:
        return thickness
    tube = Cylinder(
        start_lps_mm=(0.0, 0.0, -body.length_mm / 2.0),
        end_lps_mm=(0.0, 0.0, body.length_mm / 2.0),
        diameter_mm=body.outer_diameter_mm,
        bore_mm=body.bore_mm,
        material=body.material,
    )
    to_phantom, source = _rays(pixel_from_phantom)
    rows, columns = size
    u = np.arange(columns, dtype=np.float64)
    for first in range(0, rows, 128):  # in strips: directions of a whole picture are 25 MB
        v = np.arange(first, min(first + 128, rows), dtype=np.float64)
        grid = np.stack(np.broadcast_arrays(u[None, :], v[:, None], 1.0), axis=-1)
        thickness[first : first + 128] = tube.chord_mm(source, grid @ to_phantom.T)
    return thickness


def _with_beads(laid: PlacedPhantom, pixel_from_phantom: F64, body_mm: F32, exposure: Exposure) -> F32:
    """Transmission with beads, computed `_PER_PIXEL`^2 times in every pixel that a bead may shadow."""
    body = laid.phantom.body
    body_name = body.material if body else "pmma"
    technique = exposure.beam
    per_mm = {name: density_g_cm3(name) * _CM_PER_MM for name in (body_name, laid.phantom.material)}
    transmission = technique.transmission({body_name: body_mm * np.float32(per_mm[body_name])})
    balls = [
        (point, float(diameter) / 2.0)
        for n, (point, diameter) in enumerate(zip(laid.points_mm, laid.phantom.diameters_mm, strict=True))
        if n not in laid.missing
    ] + [(np.array(point), diameter / 2.0) for point, diameter in laid.false_beads]
    shadows = [_window(point, radius, pixel_from_phantom, body_mm.shape) for point, radius in balls]
    shadowed = np.zeros(body_mm.shape, np.bool_)
    for rows, columns in shadows:
        shadowed[rows, columns] = True
    at_v, at_u = np.nonzero(shadowed)
    if not len(at_v):
        return transmission
    index = np.full(body_mm.shape, -1, np.int64)
    index[shadowed] = np.arange(len(at_v))
    to_phantom, source = _rays(pixel_from_phantom)
    offsets = (np.arange(_PER_PIXEL) - (_PER_PIXEL - 1) / 2.0) / _PER_PIXEL
    mean = np.zeros(len(at_v), np.float32)
    for off_u in offsets:
        for off_v in offsets:
            beads_mm = np.zeros(len(at_v), np.float32)
            rays = np.column_stack((at_u + off_u, at_v + off_v, np.ones(len(at_u)))) @ to_phantom.T
            for (point, radius), (rows, columns) in zip(balls, shadows, strict=True):
                there = index[rows, columns].ravel()
                beads_mm[there] += sphere_chords_mm(point, radius, source, rays[there]).astype(np.float32)
            layers = {
                body_name: body_mm[shadowed] * np.float32(per_mm[body_name]),
                laid.phantom.material: beads_mm * np.float32(per_mm[laid.phantom.material]),
            }
            mean += technique.transmission(layers)
    transmission[shadowed] = mean / np.float32(_PER_PIXEL**2)
    return transmission


def _window(point: F64, radius_mm: float, matrix: F64, shape: tuple[int, ...]) -> tuple[slice, slice]:
    u, v, depth = matrix[:, :3] @ point + matrix[:, 3]
    reach = radius_mm / depth * 1.2 * float(np.linalg.norm(matrix[0, :3])) + _MARGIN_PX
    low_u, high_u = np.clip((np.floor(u / depth - reach), np.ceil(u / depth + reach) + 1), 0, shape[1]).astype(int)
    low_v, high_v = np.clip((np.floor(v / depth - reach), np.ceil(v / depth + reach) + 1), 0, shape[0]).astype(int)
    return slice(int(low_v), int(high_v)), slice(int(low_u), int(high_u))


def _rays(matrix: F64) -> tuple[F64, F64]:
    """(3, 3) from pixel to direction, and the source."""
    to_space = np.asarray(np.linalg.inv(matrix[:, :3]), np.float64)
    return to_space, -to_space @ matrix[:, 3]
