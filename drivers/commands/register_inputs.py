"""The files that `guidance register` reads: views with their geometry, judged as a live frame's would be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from guidance.config import GeometrySettings
from guidance.errors import ConfigError, GeometryError, WireError
from guidance.geometry.camera import project
from guidance.geometry.intensity import PixelIntensity, collimated, read_intensity
from guidance.geometry.metadata import read_metadata
from guidance.geometry.trust import judge
from guidance.messages import F64, CbctVolume, Finding, FluoroFrame, Severity
from guidance.registration.values import RegistrationView
from guidance.wire.picture_files import PictureFile, read_picture
from guidance.wire.view_files import ViewFile, read_view

LARGEST_FILE_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedView:
    """A view ready to register, and what was found about its files."""

    view: RegistrationView
    findings: tuple[Finding, ...]


def load_view(path: Path, volume: CbctVolume, settings: GeometrySettings) -> LoadedView:
    """Read a view file and its picture; its geometry goes the way of a live frame's.

    Raises:
        ConfigError: a file is missing.
        WireError: what is wrong with a file.
        GeometryError: geometry that a live overlay would not draw on either.
    """
    told = read_view(read_bytes(path, 'a JSON file {"image": ..., "geometry": {...}}'), origin=str(path))
    image = path.parent / told.image
    data = read_bytes(image, f"{path} names it; its place is relative to {path.parent}")
    picture = read_picture(data, origin=str(image), frame=told.frame)
    try:
        matrix, findings = _projection(path, told, picture, volume, settings)
        xray = read_metadata(told.metadata)
        intensity = read_intensity(told.metadata, picture.intensity or PixelIntensity())
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}", code=error.code) from None
    rows, columns = picture.pixels.shape
    valid, blades = picture.valid, collimated(xray, rows, columns)
    if blades is not None:
        valid = blades if valid is None else valid & blades
    if valid is not None and not valid.any():
        raise WireError(f"{image}: shutter, padding and XRay.CollimatorPx leave nothing", code="unreadable_picture")
    if picture.intensity is not None and picture.intensity != intensity:
        findings += (_warning("intensity_overruled", f"{image} says {_words(picture.intensity)}, {path} counts"),)
    view = RegistrationView(
        pixels=picture.pixels,
        pixel_from_patient=matrix,
        intensity=intensity.relationship,
        sign=intensity.sign,
        valid=valid,
        name=told.name,
    )
    return LoadedView(view=view, findings=findings)


def read_bytes(path: Path, mend: str) -> bytes:
    """A file's content.

    Raises:
        ConfigError: there is no such file.
        WireError: it is larger than any picture.
    """
    if not path.is_file():
        raise ConfigError(f"there is no file {path}", code="no_file", mend=mend)
    if path.stat().st_size > LARGEST_FILE_BYTES:
        raise WireError(f"{path} has more than {LARGEST_FILE_BYTES >> 20} MiB", code="too_large")
    return path.read_bytes()


def _projection(
    path: Path, told: ViewFile, picture: PictureFile, volume: CbctVolume, settings: GeometrySettings
) -> tuple[F64, tuple[Finding, ...]]:
    findings = []
    view_uid = read_metadata(told.metadata).frame_of_reference_uid
    if view_uid and volume.frame_of_reference_uid and view_uid != volume.frame_of_reference_uid:
        raise GeometryError(
            f"the view is in another frame of reference ({view_uid}) than the volume ({volume.frame_of_reference_uid})",
            code="frame_of_reference_mismatch",
            mend="take the volume of that frame; leave the key out only where both are known to share one",
        )
    if not (view_uid and volume.frame_of_reference_uid):
        who = "the volume names" if view_uid else f"{path} names"
        findings.append(_warning("frame_assumed", f"{who} no frame of reference: taken for the same"))
    if told.ignored:
        findings.append(_warning("keys_ignored", f"{path}: not looked at: {', '.join(told.ignored)}"))
    frame = FluoroFrame(
        device=told.name, pixels=picture.pixels, timestamp_igtl=0, received_ns=0, metadata=told.metadata
    )
    verdict = judge(frame, volume=volume, settings=settings, shared_frame_confirmed=True)
    if verdict.pixel_from_patient is None:
        raise GeometryError(verdict.reason, code=verdict.code)
    matrix = np.array(verdict.pixel_from_patient, np.float64).reshape(3, 4)
    _check_in_picture(matrix, volume, picture.pixels.shape)
    return matrix, tuple(findings)


def _check_in_picture(matrix: F64, volume: CbctVolume, shape: tuple[int, ...]) -> None:
    """A picture of another size, crop or zoom than its geometry has the volume beside it."""
    assert volume.shape_kji is not None
    affine = np.array(volume.affine_lps_from_ijk, np.float64).reshape(4, 4)
    corners = np.stack(np.meshgrid(*((-0.5, count - 0.5) for count in volume.shape_kji[::-1])), axis=-1).reshape(-1, 3)
    places = project(corners @ affine[:3, :3].T + affine[:3, 3], matrix)
    if (places[:, 2] <= 0.0).any():
        return
    low, high = places[:, :2].min(axis=0), places[:, :2].max(axis=0)
    if (high < 0.0).any() or (low > (shape[1] - 1.0, shape[0] - 1.0)).any():
        u, v = (low + high) / 2.0
        raise GeometryError(
            f"the volume lies about pixel {u:.0f}, {v:.0f}, outside the picture of {shape[1]} x {shape[0]}",
            code="volume_not_in_picture",
            mend="geometry for the picture's own size, crop and zoom",
        )


def _words(intensity: PixelIntensity) -> str:
    return f"{intensity.relationship} {intensity.sign:+d}"


def _warning(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, message=message)
