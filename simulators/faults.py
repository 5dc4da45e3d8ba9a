"""Scripted faults of a C-arm's stream: by frame index, never random; what they do to text and bytes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from guidance.errors import ConfigError
from guidance.kernels import crc64

Chunks = list[bytes | memoryview]


class Fault(StrEnum):
    """What goes wrong with one frame; on the wire, in its metadata, or in its time."""

    # The bytes.
    CORRUPT_CRC = "corrupt_crc"
    SPLIT_HEADER = "split_header"
    HANG_UP = "hang_up"
    WRONG_SIZE = "wrong_size"
    OVERSIZED = "oversized"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_VERSION = "unknown_version"
    SUB_VOLUME = "sub_volume"
    # The geometry.
    NAN_METADATA = "nan_metadata"
    MISSING_KEYS = "missing_keys"
    WRONG_FRAME_OF_REFERENCE = "wrong_frame_of_reference"
    NO_FRAME_OF_REFERENCE = "no_frame_of_reference"
    WRONG_PATIENT_POSITION = "wrong_patient_position"
    MIRRORED_MATRIX = "mirrored_matrix"
    ABSURD_SOURCE_DISTANCE = "absurd_source_distance"
    EQUIPMENT_ANGLES_ALONE = "equipment_angles_alone"
    INFINITE_METADATA = "infinite_metadata"
    PREVIOUS_GEOMETRY = "previous_geometry"
    SOURCE_DISTANCE_2_PERCENT = "source_distance_2_percent"
    SOURCE_DISTANCE_10_PERCENT = "source_distance_10_percent"
    OTHER_ZOOM = "other_zoom"
    TURNED_ABOUT_X = "turned_about_x"
    TURNED_ABOUT_Y = "turned_about_y"
    TURNED_ABOUT_Z = "turned_about_z"
    NEGATED_PRIMARY = "negated_primary"
    TABLE_NOT_TOLD = "table_not_told"
    TABLE_TOLD_TWICE = "table_told_twice"
    # The picture.
    MIRRORED_PICTURE = "mirrored_picture"
    UPSIDE_DOWN_PICTURE = "upside_down_picture"
    HALF_TURNED_PICTURE = "half_turned_picture"
    QUARTER_TURNED_PICTURE = "quarter_turned_picture"
    TRANSPOSED_PICTURE = "transposed_picture"
    NAN_PIXELS = "nan_pixels"
    INFINITE_PIXELS = "infinite_pixels"
    BLACK_PICTURE = "black_picture"
    # The time.
    FROZEN_CLOCK = "frozen_clock"
    REPEATED_FRAME_NUMBER = "repeated_frame_number"
    REPEATED_PIXELS = "repeated_pixels"
    STALE = "stale"
    HELD = "held"
    LYING_HELD = "lying_held"
    FROZEN_PICTURE = "frozen_picture"  # the last picture with a new number and the geometry of now
    REPEATED_MESSAGE = "repeated_message"
    LATE = "late"  # comes after the frame that follows it
    CLOCK_FORWARD = "clock_forward"
    CLOCK_BACKWARD = "clock_backward"
    NO_CLOCK = "no_clock"


_HEADER_BYTES: Final = 58
_EXTENDED_HEADER_BYTES: Final = 12
_SIZE_OFFSET: Final = 6  # within the 72 bytes of an image header (protocol: image.md)
_SUB_VOLUME_SIZE_OFFSET: Final = 66
STALE_NS: Final = 5_000_000_000
_GEOMETRY: Final = ("XRay.ProjectionMatrix", "XRay.SourceToDetectorMm", "XRay.PrimaryAngleDeg")
_POSITION_OF: Final = {"HFS": "HFP"}


Faults = Fault | tuple[Fault, ...]


def faults_from_toml(text: str) -> dict[int, Faults]:
    """Read a script: `[[fault]]` tables with `kind`, `frame` and, for more than one frame, `count`.

    Returns:
        frame index (from 0, pictures sent or withheld) -> fault, or faults where `kind` is a list.

    Raises:
        ConfigError: not TOML, unknown kind or key, two faults for one frame.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the fault script is not TOML: {error}", code="bad_fault_script") from None
    script: dict[int, Faults] = {}
    entries = table.get("fault", [])
    if set(table) - {"fault"} or not isinstance(entries, list):
        raise _refused(table)
    for entry in entries:
        for frame in _frames(entry):
            if frame in script:
                raise ConfigError(f"frame {frame} has two faults", code="bad_fault_script", mend="give each its own")
            kinds = entry["kind"]
            script[frame] = Fault(kinds) if isinstance(kinds, str) else tuple(Fault(kind) for kind in kinds)
    return script


def each_fault(faults: Faults | None) -> tuple[Fault, ...]:
    """All that is wrong with a frame, in the script's order."""
    return () if faults is None else (faults,) if isinstance(faults, Fault) else tuple(faults)


def metadata_with_fault(fault: Fault | None, metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata as the faulty sender gives them."""
    texts = dict(metadata)
    match fault:
        case Fault.NAN_METADATA | Fault.INFINITE_METADATA:
            word = "nan" if fault is Fault.NAN_METADATA else "inf"
            for key in _GEOMETRY:
                if key in texts:
                    texts[key] = " ".join([word, *texts[key].split()[1:]])
        case Fault.MISSING_KEYS:
            for key in (*_GEOMETRY, "XRay.SourceToIsocenterMm", "XRay.IsocenterPrimaryAngleDeg"):
                texts.pop(key, None)
        case Fault.WRONG_FRAME_OF_REFERENCE:
            texts["XRay.FrameOfReferenceUID"] = "1.2.3.4.5.6"
        case Fault.NO_FRAME_OF_REFERENCE:
            texts.pop("XRay.FrameOfReferenceUID", None)
        case Fault.WRONG_PATIENT_POSITION:
            texts["XRay.PatientPosition"] = _POSITION_OF.get(texts.get("XRay.PatientPosition", ""), "HFS")
        case Fault.MIRRORED_MATRIX if "XRay.ProjectionMatrix" in texts:
            numbers = [float(number) for number in texts["XRay.ProjectionMatrix"].split()]
            mirrored = [-number for number in numbers[:4]] + numbers[4:]
            texts["XRay.ProjectionMatrix"] = " ".join(f"{number:.12g}" for number in mirrored)
        case Fault.ABSURD_SOURCE_DISTANCE:
            texts["XRay.SourceToDetectorMm"] = "12"
        case Fault.EQUIPMENT_ANGLES_ALONE:
            texts.pop("XRay.ProjectionMatrix", None)
            for axis in ("Primary", "Secondary"):
                texts[f"XRay.Isocenter{axis}AngleDeg"] = texts.pop(f"XRay.{axis}AngleDeg", "0")
            texts.pop("XRay.PatientPosition", None)
        case Fault.HELD:
            texts["XRay.Live"] = "0"
        case _:
            pass
    return texts


def bytes_with_fault(fault: Fault | None, message: Chunks) -> tuple[Chunks, bool]:
    """The writes that a faulty sender makes of one message, and whether it then hangs up.

    Args:
        message: the message in its parts; the first holds the 58-byte header and what stands before the pixels.

    Returns:
        (one write per item, hang up after them).
    """
    head = bytearray(message[0])
    rest = message[1:]
    match fault:
        case Fault.CORRUPT_CRC:
            head[57] ^= 0xFF
        case Fault.SPLIT_HEADER:
            return [bytes(head[:31]), bytes(head[31:]), *rest], False
        case Fault.HANG_UP:
            return [bytes(head), rest[0][: len(rest[0]) // 2]], True
        case Fault.OVERSIZED:
            head[42:50] = (1 << 40).to_bytes(8, "big")
        case Fault.UNKNOWN_TYPE:
            head[2:14] = b"HOLOGRAM".ljust(12, b"\0")
        case Fault.UNKNOWN_VERSION:
            head[0:2] = (9).to_bytes(2, "big")
        case Fault.WRONG_SIZE:
            for offset in (_SIZE_OFFSET, _SUB_VOLUME_SIZE_OFFSET):
                at = _image_header_at(head) + offset
                head[at : at + 2] = (int.from_bytes(head[at : at + 2], "big") + 1).to_bytes(2, "big")
            _sum_up(head, rest)
        case Fault.SUB_VOLUME:
            at = _image_header_at(head) + _SUB_VOLUME_SIZE_OFFSET
            head[at : at + 2] = (1).to_bytes(2, "big")
            _sum_up(head, rest)
        case _:
            pass
    return [bytes(head), *rest], False


def _image_header_at(head: bytearray) -> int:
    return _HEADER_BYTES + (_EXTENDED_HEADER_BYTES if head[1] >= 2 else 0)


def _sum_up(head: bytearray, rest: Chunks) -> None:
    """A right CRC over the wrong content, so that the content itself must be found out."""
    crc = crc64(bytes(head[_HEADER_BYTES:]))
    for part in rest:
        crc = crc64(part, crc)
    head[50:58] = crc.to_bytes(8, "big")


def _frames(entry: Any) -> range:
    if not isinstance(entry, dict) or set(entry) - {"kind", "frame", "count"} or "frame" not in entry:
        raise _refused(entry)
    frame, count, kind = entry["frame"], entry.get("count", 1), entry.get("kind")
    kinds = kind if isinstance(kind, list) else [kind]
    if not kinds or any(one not in list(Fault) for one in kinds):
        raise _refused(entry)
    if not isinstance(frame, int) or not isinstance(count, int):
        raise _refused(entry)
    return range(frame, frame + count)


def _refused(entry: object) -> ConfigError:
    return ConfigError(
        f"the fault script holds {entry!r}",
        code="bad_fault_script",
        mend=f"[[fault]] with kind, frame and count; kinds: {', '.join(Fault)}",
    )
