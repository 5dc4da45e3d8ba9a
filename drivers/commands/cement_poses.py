"""Where recorded pictures lie: judged against a volume as a live frame's would be; without one, for scale alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from guidance.config import GeometrySettings
from guidance.errors import GeometryError
from guidance.geometry.camera import check_plausible, decomposed, determinant
from guidance.geometry.metadata import XRayMetadata, read_metadata
from guidance.geometry.told import missing_keys, told_geometry
from guidance.geometry.told_patient import PatientReference, reference_of
from guidance.geometry.trust import judge
from guidance.messages import CbctVolume, FluoroFrame, Matrix34, Pixels, Vector3

_DEPTHS_MM: Final = (300.0, 1500.0)  # of an isocentre
_USUAL_DEPTH_MM: Final = 750.0
_ASSUMED: Final = {
    "XRay.IsocenterLpsMm": "the isocentre is taken as the origin",
    "XRay.PrimaryAngleDeg": "the angles are taken as 0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Of one picture.

    Attributes:
        pixel_from_patient: None: `reason` says why.
        isocenter_lps_mm: where mm are told for.
        reason: why there is no pose; "" where there is one.
        assumed: what was not told and taken as something: then a pose is good for mm in the picture and no more.
        held: the picture is not live (`XRay.Live` 0).
    """

    pixel_from_patient: Matrix34 | None
    isocenter_lps_mm: Vector3 = (0.0, 0.0, 0.0)
    reason: str = ""
    assumed: tuple[str, ...] = ()
    held: bool = False


def pose_of(
    pixels: Pixels, metadata: Mapping[str, str], volume: CbctVolume | None, settings: GeometrySettings, *, device: str
) -> Pose:
    """What a picture's metadata say of where it was taken.

    Args:
        pixels: only its size counts.
        metadata: `XRay.*`.
        volume: what zones lie in; None: mm in the picture are all that is wanted.
        settings: limits.
        device: of the input.
    """
    try:
        xray = read_metadata(metadata)
        if xray.live is False:
            return Pose(pixel_from_patient=None, reason="the picture is not live", held=True)
        if volume is None:
            return _for_scale(xray, *pixels.shape)
    except GeometryError as error:
        return Pose(pixel_from_patient=None, reason=str(error))
    return _judged(pixels, metadata, xray, volume, settings, device)


def _judged(
    pixels: Pixels,
    metadata: Mapping[str, str],
    xray: XRayMetadata,
    volume: CbctVolume,
    settings: GeometrySettings,
    device: str,
) -> Pose:
    frame = FluoroFrame(device=device, pixels=pixels, timestamp_igtl=0, received_ns=0, metadata=metadata)
    verdict = judge(frame, volume=volume, settings=settings, shared_frame_confirmed=True)
    isocenter = xray.isocenter_lps_mm or volume.isocenter_lps_mm or _middle(volume)
    return Pose(pixel_from_patient=verdict.pixel_from_patient, isocenter_lps_mm=isocenter, reason=verdict.reason)


def _middle(volume: CbctVolume) -> Vector3:
    assert volume.shape_kji is not None
    affine = np.array(volume.affine_lps_from_ijk, np.float64).reshape(4, 4)
    x, y, z, _ = affine @ np.append((np.array(volume.shape_kji[::-1]) - 1.0) / 2.0, 1.0)
    return (float(x), float(y), float(z))


def _for_scale(xray: XRayMetadata, rows: int, columns: int) -> Pose:
    reference, assumed = reference_of(None), []
    if xray.projection_matrix is None:
        missing = missing_keys(xray, reference)
        if "XRay.PrimaryAngleDeg" in missing and not xray.has_angles:
            xray = replace(xray, primary_angle_deg=0.0, secondary_angle_deg=0.0)
            assumed.append(_ASSUMED["XRay.PrimaryAngleDeg"])
        if "XRay.IsocenterLpsMm" in missing:
            xray, reference = replace(xray, isocenter_lps_mm=(0.0, 0.0, 0.0)), PatientReference()
            assumed.append(_ASSUMED["XRay.IsocenterLpsMm"])
        if missing := missing_keys(xray, reference):
            return Pose(pixel_from_patient=None, reason=f"no scale: {', '.join(missing)} not told")
    told = told_geometry(xray, rows, columns, reference=reference)
    if told is None:
        return Pose(pixel_from_patient=None, reason="no geometry is told")
    matrix = told.pixel_from_patient / np.linalg.norm(told.pixel_from_patient[2, :3])
    # Without a volume nothing says which side of the source is the patient's, but a picture as it should be is not
    # mirrored.
    if told.source == "metadata_matrix" and (determinant(matrix) > 0.0) is not bool(xray.fov_flip):
        matrix = -matrix
    check_plausible(decomposed(matrix))
    isocenter = xray.isocenter_lps_mm or (0.0, 0.0, 0.0)
    depth_mm = float(matrix[2] @ (*isocenter, 1.0))
    if xray.isocenter_lps_mm is None and not _DEPTHS_MM[0] <= depth_mm <= _DEPTHS_MM[1]:
        x, y, z = np.linalg.solve(matrix[:, :3], _USUAL_DEPTH_MM * np.array(_middle_px(rows, columns)) - matrix[:, 3])
        isocenter = (float(x), float(y), float(z))
        assumed.append(f"the isocentre is taken {_USUAL_DEPTH_MM:g} mm from the source")
    return Pose(pixel_from_patient=tuple(matrix.ravel().tolist()), isocenter_lps_mm=isocenter, assumed=tuple(assumed))


def _middle_px(rows: int, columns: int) -> Vector3:
    return ((columns - 1.0) / 2.0, (rows - 1.0) / 2.0, 1.0)
