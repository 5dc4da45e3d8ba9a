"""Lumps of cement with known voxels, and what two C-arm views show of them, by splatting fine voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from guidance.geometry.camera import ConeBeamCamera
from guidance.geometry.detector import Detector
from guidance.geometry.positioner import CArmPose
from guidance.messages import F32, F64, CementView, PlannedPath
from guidance.tracking.values import SeenInstrument

STEP_MM = 0.5


@dataclass(frozen=True)
class Lump:
    """share `[k, j, i]` of fine voxels; first_lps_mm of the first voxel's centre."""

    share: F32
    first_lps_mm: F64

    @property
    def volume_ml(self) -> float:
        return float(self.share.sum()) * STEP_MM**3 / 1000.0

    @property
    def points(self) -> F64:
        kji = np.argwhere(self.share > 0)
        return kji[:, ::-1] * STEP_MM + self.first_lps_mm

    @property
    def shares(self) -> F32:
        return self.share[self.share > 0]


def lump(
    seed: int,
    *,
    radius_mm: float = 10.0,
    center_lps_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    share: float = 0.85,
    rough: float = 0.25,
) -> Lump:
    """A connected lump with random bays and tongues, `radius_mm` on average."""
    half = int(np.ceil(radius_mm * 2.2 / STEP_MM))
    axis = np.arange(-half, half + 1) * STEP_MM
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(x.shape), 0.3 * radius_mm / STEP_MM)
    noise /= noise.std()
    inside = np.sqrt(x**2 + y**2 + z**2) < radius_mm * (1.0 + rough * noise)
    labels, _ = ndimage.label(inside)
    inside = labels == labels[half, half, half]
    soft = ndimage.gaussian_filter(inside.astype(np.float32), 0.7) * np.float32(share)
    soft[soft < 0.02] = 0.0
    return Lump(soft, np.asarray(center_lps_mm) - half * STEP_MM)


def camera(primary_deg: float, secondary_deg: float = 0.0, *, size: int = 512) -> ConeBeamCamera:
    return ConeBeamCamera(
        pose=CArmPose(
            primary_angle_deg=primary_deg,
            secondary_angle_deg=secondary_deg,
            source_to_detector_mm=1200.0,
            source_to_isocenter_mm=750.0,
        ),
        detector=Detector(columns=size, rows=size, pitch_row_mm=300.0 / size, pitch_column_mm=300.0 / size),
    )


def ray_lengths(bodies: tuple[Lump, ...], matrix: F64, *, size: int = 512, blur_px: float = 0.7) -> F32:
    """mm of cement along the ray of each pixel; every voxel keeps its volume."""
    out = np.zeros(size * size)
    focal2 = abs(float(np.linalg.det(matrix[:, :3])))
    source = -np.linalg.solve(matrix[:, :3], matrix[:, 3])
    for body in bodies:
        points = body.points
        for shift in np.stack(np.meshgrid(*[[-0.25, 0.25]] * 3), axis=-1).reshape(-1, 3) * STEP_MM:
            moved = points + shift
            u, v, w = matrix[:, :3] @ moved.T + matrix[:, 3:]
            cosine = w / np.linalg.norm(moved - source, axis=1)
            mm = body.shares * STEP_MM**3 / 8.0 * focal2 / (w**2 * cosine)
            u, v = u / w, v / w
            left, top = np.floor(u).astype(int), np.floor(v).astype(int)
            for dv in (0, 1):
                for du in (0, 1):
                    part = (u - left if du else 1 - u + left) * (v - top if dv else 1 - v + top)
                    on = (left + du >= 0) & (left + du < size) & (top + dv >= 0) & (top + dv < size)
                    out += np.bincount(((top + dv) * size + left + du)[on], (mm * part)[on], size * size)
    return ndimage.gaussian_filter(out.reshape(size, size), blur_px).astype(np.float32)


def seen(
    thickness_mm: F32,
    matrix: F64,
    *,
    device: str = "FluoroA",
    sequence: int = 1,
    received_ns: int = 0,
    noise_mm: float = 0.0,
    seed: int = 0,
    gain: float = 1.0,
    sigma: float = 0.05,
    threshold_mm: float = 0.5,
) -> CementView:
    """A view as the tracker gives it: noise that is left after its filters, and everything about the mask."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(thickness_mm.shape), 1.5)
    shown = (thickness_mm * np.float32(gain) + noise_mm * noise / noise.std()).astype(np.float32)
    mask = (ndimage.gaussian_filter(shown, 1.0) > threshold_mm).astype(np.uint8)
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    mask &= (sizes[labels] > 30).astype(np.uint8)
    total = float(shown[mask > 0].sum())
    return CementView(
        device=device,
        sequence=sequence,
        frame_number=sequence,
        received_ns=received_ns,
        time_s=received_ns / 1e9,
        seen=True,
        pixel_from_patient=tuple(matrix.ravel().tolist()),
        mm_per_px=750.0 / float(np.sqrt(abs(np.linalg.det(matrix[:, :3])))),
        mask=mask,
        blind=np.zeros_like(mask),
        thickness_mm=shown,
        area_px=float(mask.sum()),
        thickness_sum_mm_px=total,
        thickness_sigma_mm_px=sigma * total,
        noise=0.01,
    )


def rod_along(path: PlannedPath, pixel_from_patient: F64, *, diameter_px: float) -> SeenInstrument:
    """A straight instrument as it is seen exactly on its path, its tip at the target."""
    ends = np.array([path.entry_lps_mm, path.target_lps_mm])
    u, v, w = pixel_from_patient[:, :3] @ ends.T + pixel_from_patient[:, 3:]
    line = np.column_stack([u / w, v / w])
    return SeenInstrument(
        path_id=path.id,
        centreline_px=line,
        tip_px=(float(line[1, 0]), float(line[1, 1])),
        tip_sigma_px=0.5,
        tip_unknown="",
        sigma_px=0.2,
        diameter_px=diameter_px,
        contrast=1.0,
        score=1.0,
        bend_px=0.0,
    )
