"""The files that `guidance cement` reads: pictures in the order of their names, and what was told with each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from drivers.commands.register_inputs import LARGEST_FILE_BYTES, read_bytes
from guidance.errors import ConfigError, WireError
from guidance.geometry.intensity import PixelIntensity, read_intensity
from guidance.messages import EMPTY_METADATA, Finding, Pixels, Severity
from guidance.wire.dicom_instance import parse
from guidance.wire.dicom_values import integer
from guidance.wire.picture_files import read_picture
from guidance.wire.sequence_files import SequenceFile, read_sequence

USUAL_RATE_HZ: Final = 15.0
_SUFFIXES: Final = (".png", ".tif", ".tiff", ".npy", ".dcm", ".ima", "")
_NS: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureName:
    """Where one picture is.

    Attributes:
        path: its file.
        frame: of a DICOM object, from 1.
        name: for people and for files made of it: the file's name, with the frame's number where there are several.
        metadata: told with it.
        time_ns: when it was taken.
    """

    path: Path
    frame: int
    name: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    time_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sequence:
    """One input: what was before the cement, and what came after.

    Attributes:
        device: name of the input.
        reference, frames: in order of time.
        timed: rate or times were told.
        findings: about its files.
    """

    device: str
    reference: tuple[PictureName, ...]
    frames: tuple[PictureName, ...]
    timed: bool
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """One picture as it was stored."""

    pixels: Pixels
    intensity: PixelIntensity


def load_sequence(
    reference: Path, frames: Path, geometry: Path | None, *, device: str, rate_hz: float | None
) -> Sequence:
    """Find an input's pictures and what was told with each.

    Args:
        reference: a picture, or a folder of some.
        frames: a folder of pictures, or one object with several.
        geometry: a file as of `read_sequence`; None: pixels only.
        device: of the input, where the file does not name it.
        rate_hz: counts before the file's.

    Raises:
        ConfigError: a file or folder is missing or empty, or tells of another number of pictures.
        WireError: what is wrong with a file.
    """
    told = SequenceFile(frames=(EMPTY_METADATA,))
    if geometry is not None:
        told = read_sequence(read_bytes(geometry, "a JSON file of XRay keys"), origin=str(geometry))
    before, after = list(_pictures(reference)), list(_pictures(frames))
    findings = []
    of_reference = {(one.path.resolve(), one.frame) for one in before}
    rest = [one for one in after if (one.path.resolve(), one.frame) not in of_reference]
    if not rest:
        raise ConfigError(
            f"{frames} holds only pictures of the reference",
            code="reference_twice",
            mend="the reference is of before the cement: keep the frames in a folder of their own",
        )
    if len(rest) < len(after):
        findings.append(_warning("reference_taken_out", f"{len(after) - len(rest)} of {frames} are the reference"))
        after = rest
    if told.ignored:
        findings.append(_warning("keys_ignored", f"{geometry}: not looked at: {', '.join(told.ignored)}"))
    rate = rate_hz or told.rate_hz
    timed = rate is not None or bool(told.timestamps_s)
    if not timed:
        message = (
            f"no rate_hz and no timestamps_s are told: {USUAL_RATE_HZ:g} per second are taken, and no speed is told"
        )
        findings.append(_warning("rate_assumed", message))
    times = _times_ns(told, len(before), len(after), 1.0 / (rate or USUAL_RATE_HZ), geometry)
    metadata = _metadata(told, before, after, geometry)
    named = [
        PictureName(path=one.path, frame=one.frame, name=one.name, metadata=own, time_ns=time_ns)
        for one, own, time_ns in zip([*before, *after], metadata, times, strict=True)
    ]
    return Sequence(
        device=told.name or device,
        reference=tuple(named[: len(before)]),
        frames=tuple(named[len(before) :]),
        timed=timed,
        findings=tuple(findings),
    )


def load_picture(name: PictureName) -> Picture:
    """Read one picture.

    Raises:
        ConfigError: the file is gone.
        WireError: what is wrong with it.
        GeometryError: its intensity words.
    """
    picture = read_picture(read_bytes(name.path, "it was there before"), origin=str(name.path), frame=name.frame)
    return Picture(
        pixels=picture.pixels, intensity=read_intensity(name.metadata, picture.intensity or PixelIntensity())
    )


def _pictures(place: Path) -> Iterator[PictureName]:
    if place.is_dir():
        files = [file for file in place.iterdir() if file.is_file() and not file.name.startswith(".")]
        files = sorted((file for file in files if file.suffix.lower() in _SUFFIXES), key=_by_name)
    elif place.is_file():
        files = [place]
    else:
        raise ConfigError(f"there is no {place}", code="no_file", mend="a picture, or a folder of pictures")
    if not files:
        raise ConfigError(f"{place} holds no picture", code="no_file", mend="PNG, TIFF, NPY or DICOM files")
    for file in files:
        count = _frames_in(file)
        for frame in range(1, count + 1):
            name = file.name if count == 1 else f"{file.name}#{frame}"
            yield PictureName(path=file, frame=frame, name=name)


def _by_name(file: Path) -> list[tuple[int, int, str]]:
    """Names in order, numbers in them by their value: 2 comes before 10."""
    parts = re.split(r"(\d+)", file.name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.casefold()) for part in parts if part]


def _frames_in(file: Path) -> int:
    with file.open("rb") as opened:
        if opened.read(132)[128:] != b"DICM":
            return 1
    if file.stat().st_size > LARGEST_FILE_BYTES:
        raise WireError(f"{file} has more than {LARGEST_FILE_BYTES >> 20} MiB", code="too_large")
    return max(integer(parse(file.read_bytes()), "NumberOfFrames") or 1, 1)


def _times_ns(told: SequenceFile, before: int, after: int, step_s: float, geometry: Path | None) -> list[int]:
    """Of reference and frames; the reference's, where they are not told, lie before the first frame."""
    times = list(told.timestamps_s) or [number * step_s for number in range(after)]
    if len(times) == after:
        times = [times[0] - (before - number) * step_s for number in range(before)] + times
    if len(times) != before + after:
        raise _another_number(f"{len(times)} timestamps_s", before, after, geometry)
    return [round((time - times[0]) * _NS) for time in times]


def _metadata(
    told: SequenceFile, before: list[PictureName], after: list[PictureName], geometry: Path | None
) -> list[Mapping[str, str]]:
    frames = list(told.frames)
    if told.files is not None:
        missing = [one.name for one in after if one.path.name not in told.files]
        if missing:
            raise ConfigError(f"{geometry} tells nothing of {missing[0]}", code="no_geometry", mend="name every file")
        frames = [frames[told.files[one.path.name]] for one in after]
        reference = [
            told.frames[told.files[one.path.name]] if one.path.name in told.files else frames[0] for one in before
        ]
    elif len(frames) == 1:
        frames, reference = frames * len(after), frames * len(before)
    elif len(frames) == len(after):
        reference = frames[:1] * len(before)
    elif len(frames) == len(before) + len(after):
        frames, reference = frames[len(before) :], frames[: len(before)]
    else:
        raise _another_number(f"geometry of {len(frames)} frames", before=len(before), after=len(after), path=geometry)
    if told.reference:
        if len(told.reference) not in (1, len(before)):
            raise _another_number(f"{len(told.reference)} of reference", len(before), len(after), geometry)
        reference = list(told.reference) if len(told.reference) == len(before) else [told.reference[0]] * len(before)
    return [*reference, *frames]


def _another_number(what: str, before: int, after: int, path: Path | None) -> ConfigError:
    return ConfigError(
        f"{path} tells {what}, there are {after} pictures and {before} of the reference",
        code="another_number",
        mend="one for all, or one for each picture in the order of the names",
    )


def _warning(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, message=message)
