"""The files that `guidance plan` reads: volume, zones, markups, names; what is wrong with one is said by its name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from guidance.case import BadFieldsError, Case, create_zone, import_zones, take_plan
from guidance.errors import ConfigError, WireError
from guidance.messages import Finding, MaskShape, Severity
from guidance.planning.occupancy import Occupancy
from guidance.planning.volume import PlanningVolume
from guidance.wire.label_names import LabelNames, label_names
from guidance.wire.markups import read_markups
from guidance.wire.read_zones import ReadZones, check_against_volume
from guidance.wire.volume_files import FileVolume, read_dicom_volume, read_nifti_volume
from guidance.wire.zone_files import drawn_zones_of, read_zone_file, zones_of

# What GET /zones tells beside the fields that POST takes.
_STORED_ONLY: Final = ("id", "origin", "origin_uid", "frame_of_reference_uid", "in_active_frame", "patient_id")


@dataclass(slots=True)
class TakenFiles:
    """What has been read so far.

    Attributes:
        case: zones, and paths of a plan file, checked as the server checks them.
        masks: voxels by mask id.
        findings: about all of it.
    """

    case: Case = field(default_factory=Case)
    masks: dict[str, Occupancy] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def keep(self, occupancy: Occupancy) -> MaskShape:
        """Voxels stay in memory; equal ones are the same zone, as in the server's store."""
        values, affine = occupancy.values, occupancy.affine_lps_from_ijk
        mask_id = hashlib.sha256(repr(values.shape).encode() + affine.tobytes() + values.tobytes()).hexdigest()
        self.masks[mask_id] = occupancy
        voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000.0
        return MaskShape(
            mask_id=mask_id,
            shape_kji=(values.shape[0], values.shape[1], values.shape[2]),
            affine_lps_from_ijk=tuple(affine.ravel().tolist()),
            volume_ml=float(values.sum(dtype=np.int64)) / 255.0 * voxel_ml,
        )


def load_volume(path: Path, *, series_uid: str = "") -> FileVolume:
    """A DICOM folder, one DICOM file with all slices, or a NIfTI file.

    Raises:
        ConfigError: there is no such file.
        WireError: what is in it is no volume.
    """
    if path.is_dir():
        files = ((file.name, file.read_bytes()) for file in sorted(path.rglob("*")) if file.is_file())
        return read_dicom_volume(files, origin=str(path), series_uid=series_uid)
    data = _read(path, "a DICOM folder or a NIfTI file")
    if data[128:132] == b"DICM":
        return read_dicom_volume([(path.name, data)], origin=str(path), series_uid=series_uid)
    return read_nifti_volume(data, origin=str(path))


def take_zones(taken: TakenFiles, path: Path, names: LabelNames | None, volume: PlanningVolume | None) -> None:
    """Add the zones of a file; without a volume, drawn ones only.

    Raises:
        ConfigError: there is no such file, or its zones need a volume.
        WireError, BadFieldsError: what is wrong with it.
    """
    data = _read(path, "a file of zones")
    try:
        if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
            for fields in _drawn(data, path):
                taken.case, _ = create_zone(taken.case, fields)
            return
        if volume is None:
            raise ConfigError(f"the zones of {path} are of a volume", code="no_volume", mend="give it with --volume")
        read = read_zone_file(data, origin=path.name, names=names, volume=volume)
        checked = _of_this_volume(read, volume)
        taken.findings += checked.findings
        taken.case, imported = import_zones(taken.case, zones_of(checked.zones, taken.keep))
    except BadFieldsError as error:
        raise BadFieldsError(error.errors, what=str(path)) from None
    if imported.already_there:
        message = f"{path.name}: there already: {', '.join(imported.already_there)}"
        taken.findings.append(Finding(code="zone_twice", severity=Severity.WARNING, message=message))


def _of_this_volume(read: ReadZones, volume: PlanningVolume) -> ReadZones:
    """Only what lies in the volume. A NIfTI volume has no Frame of Reference: then that is said, not guessed."""
    if not volume.frame_of_reference_uid and read.frame_of_reference_uid:
        told = Finding(
            code="frame_not_checked",
            severity=Severity.WARNING,
            message="the volume names no Frame of Reference: whether the zones are in its frame is not known",
        )
        zones = tuple(replace(zone, frame_of_reference_uid="") for zone in read.zones)
        read = replace(read, zones=zones, findings=(*read.findings, told))
    shape = volume.voxels_hu.shape
    return check_against_volume(
        read, (shape[0], shape[1], shape[2]), volume.affine_lps_from_ijk, volume.frame_of_reference_uid
    )


def _drawn(data: bytes, path: Path) -> Iterator[dict[str, Any]]:
    """Bodies of POST /zones: a list, or as GET /zones answers them."""
    try:
        told = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(f"{path} is no JSON: {error}", code="unreadable_zones") from None
    items = told.get("items") if isinstance(told, dict) else told
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        mend = 'a list of zones, or {"items": [...]}'
        if isinstance(told, dict) and "markups" in told:
            mend = "a markups file goes to --plan"
        raise WireError(f"{path} holds no zones", code="unreadable_zones", mend=mend)
    for item in items:
        yield {name: value for name, value in item.items() if name not in _STORED_ONLY}


def take_plan_file(taken: TakenFiles, path: Path, *, diameter_mm: float | None) -> None:
    """Add the paths and drawn zones of a 3D Slicer markups file; `diameter_mm` is for paths without their own.

    Raises:
        ConfigError: there is no such file.
        WireError, BadFieldsError: what is wrong with it.
    """
    read = read_markups(_read(path, "a 3D Slicer markups file"), origin=str(path))
    taken.findings += read.findings
    taken.case, _ = take_plan(taken.case, read.paths, drawn_zones_of(read.zones), diameter_mm=diameter_mm)


def names_of(word: str | None) -> LabelNames | None:
    """The names file, or the well-known table, that `--zone-names` says; None without."""
    if word is None:
        return None
    path = Path(word)
    if path.is_file():
        return label_names(path.read_text(encoding="utf-8-sig"), word)
    try:
        return label_names(word, "--zone-names")
    except BadFieldsError:
        mend = "a names file, or the word totalsegmentator"
        raise ConfigError(f"--zone-names: there is no {word}", code="no_file", mend=mend) from None


def _read(path: Path, mend: str) -> bytes:
    if not path.is_file():
        raise ConfigError(f"there is no file {path}", code="no_file", mend=mend)
    return path.read_bytes()
