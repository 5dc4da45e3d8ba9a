"""A body of random ellipsoids with shells of bone, like nobody: nothing may be tuned to it; and its pictures."""

from __future__ import annotations

import numpy as np

from guidance.kernels.drr import ProjectionVolume, cone_projection
from guidance.registration.values import RegistrationView, small_motion
from simulators.gantry import Gantry

SPACING_MM = 2.0
SIDE = 96


def body(seed=1, *, bones=16):
    """(voxels_hu, affine): soft tissue with shells of bone, asymmetric in every direction."""
    rng = np.random.default_rng(seed)
    axis = (np.arange(SIDE) - (SIDE - 1) / 2.0) * SPACING_MM
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    hu = np.where((x / 92.0) ** 2 + (y / 80.0) ** 2 < 1.0, 40.0, -1000.0)
    points = np.stack((x, y, z), axis=-1)
    for _ in range(bones):
        center = rng.uniform(-48.0, 48.0, 3)
        turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        half = rng.uniform(7.0, 26.0, 3)
        radius = np.linalg.norm((points - center) @ turn / half, axis=-1)
        hu[radius < 1.0] = 1100.0
        hu[radius < 1.0 - 4.0 / half.min()] = 260.0
    affine = np.diag((SPACING_MM, SPACING_MM, SPACING_MM, 1.0))
    affine[:3, 3] = axis[0] + np.array((12.0, -30.0, 150.0))
    return hu.astype(np.int16), affine


def middle_of(affine):
    return affine[:3, :3] @ np.full(3, (SIDE - 1) / 2.0) + affine[:3, 3]


def gantries(affine, angles, **more):
    x, y, z = middle_of(affine)
    settings = {"detector_rows": 384, "detector_columns": 384, "pitch_row_mm": 0.8, "pitch_column_mm": 0.8, **more}
    return [Gantry(primary_deg=p, secondary_deg=s, isocenter_lps_mm=(x, y, z), **settings) for p, s in angles]


def radiographs(hu, affine, angles, offset, *, seed=0, photons=6000.0, blur=None, **more):
    """Monochromatic pictures of the moved body with Poisson noise, as (views, true M).

    The body is denser than the volume says: what the pictures are made of is water's attenuation by HU, by rays.
    """
    density = ProjectionVolume(((np.maximum(hu, -1000) + 1000.0) * 2e-5).astype(np.float32), affine, air=0)
    truth = small_motion(np.asarray(offset, float), middle_of(affine))
    rng = np.random.default_rng(seed)
    views = []
    for n, gantry in enumerate(gantries(affine, angles, **more)):
        matrix = gantry.pixel_from_patient()
        lengths = cone_projection(density, matrix @ truth, gantry.size, method="rays")[0]
        pixels = rng.poisson(np.exp(-lengths) * photons).astype(np.uint16)
        views.append(RegistrationView(pixels=pixels, pixel_from_patient=matrix, name=f"view {n + 1}"))
    return views, truth


def target_error_mm(registration, truth, affine):
    """Mean error over targets within 40 mm of the middle."""
    points = middle_of(affine) + np.random.default_rng(7).uniform(-40.0, 40.0, (60, 3))
    left = registration.estimate.seen_lps_from_volume_lps - truth
    return float(np.linalg.norm(points @ left[:3, :3].T + left[:3, 3], axis=1).mean())


def seen_error_mm(registration, truth, affine, view):
    """Mean error across the rays of a view, at the targets' depth."""
    points = middle_of(affine) + np.random.default_rng(7).uniform(-40.0, 40.0, (60, 3))
    pixels = []
    for motion in (registration.estimate.seen_lps_from_volume_lps, truth):
        moved = points @ motion[:3, :3].T + motion[:3, 3]
        uvw = moved @ view.pixel_from_patient[:, :3].T + view.pixel_from_patient[:, 3]
        pixels.append(uvw[:, :2] / uvw[:, 2:])
    return float(np.linalg.norm(pixels[0] - pixels[1], axis=1).mean()) * 0.8 * 750.0 / 1200.0
