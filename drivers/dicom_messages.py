"""What the live process and the DICOM process say to each other: one JSON line per value."""

from __future__ import annotations

from typing import Literal

import msgspec

from guidance.config import DicomSettings
from guidance.messages import CbctVolume, StoredZones

LogLevel = Literal["debug", "info", "warning", "error"]


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """First and only line to the DICOM process; the end of its input tells it to stop.

    Attributes:
        settings: section `dicom`.
        data_dir: absolute folder of the server's data.
    """

    settings: DicomSettings
    data_dir: str


class Listening(msgspec.Struct, frozen=True, tag=True):
    """The port is open."""

    port: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The settings cannot work; the process ends."""

    message: str
    code: str
    mend: str


class Counted(msgspec.Struct, frozen=True, tag=True):
    """Something happened that is counted in /metrics."""

    code: str
    amount: int = 1


class Logged(msgspec.Struct, frozen=True, tag=True):
    """A line for the log."""

    level: LogLevel
    text: str


class VolumeChanged(msgspec.Struct, frozen=True, tag=True):
    """A volume is being received, ready or refused."""

    volume: CbctVolume


class ZonesStored(msgspec.Struct, frozen=True, tag=True):
    """A Segmentation or RT Structure Set is on disk, new or from before this start."""

    zones: StoredZones


class SliceStored(msgspec.Struct, frozen=True, tag=True):
    """A CT Image has just been stored that may be a single shot: its series holds only a few so far."""

    path: str
    name: str


Report = Listening | Refused | Counted | Logged | VolumeChanged | ZonesStored | SliceStored

encode = msgspec.json.encode
decode_start = msgspec.json.Decoder(Start).decode
decode_report = msgspec.json.Decoder(Report).decode
