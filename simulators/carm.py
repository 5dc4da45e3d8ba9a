"""A C-arm as seen from the network, without I/O: what is on each frame and which bytes say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from guidance.kernels import crc64
from guidance.messages import F64
from guidance.wire.openigtlink import Transform, pack, pack_image_parts, picture_matrix, timestamp_from_unix_ns
from simulators.carm_metadata import Technique, Telling, frame_metadata, frame_transforms, reference_point_mm
from simulators.faults import STALE_NS, Chunks, Fault, Faults, bytes_with_fault, each_fault, metadata_with_fault
from simulators.gantry import Gantry
from simulators.lies import picture_with_fault, told_with_fault, turned_from_taken
from simulators.scene import Exposed, Exposure, NoiseFields

PixelType = Literal["uint8", "int8", "uint16", "int16", "float32"]
PIXEL_TYPES: Final = ("uint8", "int8", "uint16", "int16", "float32")

_TUBE_CURRENT_MA: Final = 20.0
_PULSE_WIDTH_MS: Final = 8.0
_KERMA_PER_DAP: Final = 1e-3 / 100.0  # mGy mm2 to Gy cm2
_CLOCK_JUMP_NS: Final = 3_600_000_000_000
_LAST_PICTURE: Final = {Fault.REPEATED_PIXELS, Fault.LYING_HELD, Fault.HELD, Fault.FROZEN_PICTURE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The C-arm at one place.

    Attributes:
        gantry: where.
        frames: how many pictures are taken there before it goes on.
        pixel_type: of those pictures; may change in mid-stream, like their size.
        pedal: False: nothing is exposed; what is sent meanwhile is the script's `released`.
        told: what is told instead of `gantry`, as by planes whose cables are swapped; None: the truth.
    """

    gantry: Gantry
    frames: int = 30
    pixel_type: PixelType = "uint16"
    pedal: bool = True
    told: Gantry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CArmScript:
    """All that a simulated C-arm does; two planes (biplane) are two scripts.

    Attributes:
        stops: gone through from the first to the last, then again from the first if `loop`.
        device: OpenIGTLink device name.
        telling: form of the geometry.
        exposure: technique.
        rate_hz: pictures per second.
        released: while the pedal is up: `silent`, `held` (last picture, Live 0) or `lying` (last picture as if live).
        header_version: 1 (no metadata) or 2.
        faults: frame index -> fault, or several at once.
        seed: of the noise.
        loop: begin again after the last stop.
    """

    stops: tuple[Stop, ...]
    device: str = "Fluoro"
    telling: Telling = field(default_factory=Telling)
    exposure: Exposure = field(default_factory=Exposure)
    rate_hz: float = 30.0
    released: Literal["silent", "held", "lying"] = "silent"
    header_version: int = 2
    faults: Mapping[int, Faults] = field(default_factory=dict)
    seed: int = 1
    loop: bool = True

    def gantries(self) -> list[Gantry]:
        """Every place where a picture is taken, once, in order."""
        return list(dict.fromkeys(stop.gantry for stop in self.stops if stop.pedal))


@dataclass(frozen=True, slots=True, eq=False)
class SentFrame:
    """One frame's bytes and what they say, for the sender and for tests.

    Attributes:
        chunks: writes in order; empty while nothing is sent.
        hang_up: the sender closes the connection after them.
        pixels: (rows, columns); None while nothing is sent.
        metadata: as sent.
        gantry: where the picture was taken.
        faults: what is wrong with it.
        taken: index of the frame that the picture was exposed for; less than its own where it is shown again.
        pixel_from_patient: (3, 4): where points of the CBCT really are on `pixels`, whatever is told.
        late: an older frame whose bytes follow this one's in `chunks`.
    """

    chunks: Chunks
    hang_up: bool = False
    pixels: npt.NDArray[Any] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    gantry: Gantry | None = None
    faults: tuple[Fault, ...] = ()
    taken: int = 0
    pixel_from_patient: F64 | None = None
    late: SentFrame | None = None


class SimulatedCArm:
    """Makes a script's frames one after the other; whoever calls it has the clock and the pictures.

    Args:
        script: what to do.
    """

    def __init__(self, script: CArmScript) -> None:
        self.script = script
        largest = max(stop.gantry.size[0] * stop.gantry.size[1] for stop in script.stops)
        self._noise = NoiseFields(script.seed, largest)
        self._stop = 0
        self._taken = 0
        self._index = 0
        self._number = 0
        self._last: SentFrame | None = None
        self._told: Gantry | None = None
        self._kept_back: SentFrame | None = None
        self._kerma_mgy = 0.0
        self._dap_gycm2 = 0.0
        self._frozen_ns: int | None = None

    @property
    def stop(self) -> Stop:
        """Where it stands now."""
        return self.script.stops[self._stop]

    @property
    def finished(self) -> bool:
        """All stops done, and no loop."""
        return self._stop == len(self.script.stops) - 1 and self._taken >= self.stop.frames and not self.script.loop

    def next_stop(self) -> Stop:
        """Where it goes when it has taken its frames here."""
        return self.script.stops[(self._stop + 1) % len(self.script.stops)]

    def advance(self) -> None:
        """Go on to the next stop once this one's frames are taken."""
        if self._taken >= self.stop.frames and not self.finished:
            self._stop = (self._stop + 1) % len(self.script.stops)
            self._taken = 0

    def frame(self, exposed: Exposed, unix_ns: int) -> SentFrame:
        """Take one picture where the C-arm stands.

        Args:
            exposed: the noise-free picture of `stop.gantry`.
            unix_ns: the sender's clock.
        """
        stop, index = self.stop, self._index
        faults = each_fault(self.script.faults.get(index))
        self._index += 1
        self._taken += 1
        if not stop.pedal:
            return self._released(faults, unix_ns)
        if Fault.REPEATED_MESSAGE in faults and self._last is not None:
            return replace(self._last, faults=faults, late=None)
        if not {Fault.REPEATED_FRAME_NUMBER, Fault.LYING_HELD} & set(faults):
            self._number += 1
        last = self._last
        if last is not None and last.pixels is not None and last.gantry and _LAST_PICTURE & set(faults):
            told = stop.told or stop.gantry if Fault.FROZEN_PICTURE in faults else last.gantry
            return self._send(last, told, unix_ns, faults, live=True)
        self._count_dose(stop.gantry, exposed)
        picture = _as_type(self._noise.apply(exposed, index), stop.pixel_type)
        turn = np.eye(3)
        for fault in faults:
            turn = turned_from_taken(fault, picture.shape[0], picture.shape[1]) @ turn
            picture = picture_with_fault(fault, picture)
        matrix = turn @ stop.gantry.pixel_from_patient()
        taken = SentFrame([], pixels=picture, gantry=stop.gantry, taken=index, pixel_from_patient=matrix)
        return self._send(taken, stop.told or stop.gantry, unix_ns, faults, live=True)

    def _released(self, faults: tuple[Fault, ...], unix_ns: int) -> SentFrame:
        last = self._last
        if last is None or last.gantry is None or last.pixels is None or self.script.released == "silent":
            return SentFrame([], faults=faults)
        return self._send(last, last.gantry, unix_ns, faults, live=self.script.released == "lying")

    def _send(
        self, taken: SentFrame, gantry: Gantry, unix_ns: int, faults: tuple[Fault, ...], *, live: bool
    ) -> SentFrame:
        """Send a picture, new or shown again, with what is told of `gantry`."""
        script, pixels = self.script, taken.pixels
        assert pixels is not None
        told, self._told = gantry, gantry if self._told is None else self._told
        for fault in faults:
            told = told_with_fault(fault, told, self._told)
        self._told = gantry
        metadata = frame_metadata(told, script.telling, self._technique(), frame_number=self._number, live=live)
        for fault in faults:
            metadata = metadata_with_fault(fault, metadata)
        timestamp = timestamp_from_unix_ns(self._clock_ns(faults, unix_ns))
        chunks: Chunks = []
        if script.telling.geometry == "transforms":
            suffix = script.device[-1] if script.device.endswith(("A", "B")) else ""
            for name, matrix in frame_transforms(told, suffix).items():
                message = Transform(device=name, timestamp_igtl=timestamp, matrix=_matrix12(matrix))
                chunks.append(pack(message, script.header_version))
        prefix, rest = pack_image_parts(
            script.device,
            timestamp,
            pixels.shape,
            pixels.dtype,
            pixels_crc64=crc64(pixels.data.cast("B")),
            matrix=picture_matrix(told.picture_pitch_mm),
            metadata=metadata,
            header_version=script.header_version,
            message_id=self._index & 0xFFFFFFFF,
        )
        image: Chunks = [prefix, pixels.data.cast("B"), rest]
        hang_up = False
        for fault in faults:
            image, hangs_up = bytes_with_fault(fault, image)
            hang_up = hang_up or hangs_up
        sent = replace(
            taken, chunks=[*chunks, *image], hang_up=hang_up, metadata=metadata, faults=faults, late=self._kept_back
        )
        self._last = replace(sent, late=None)
        if Fault.LATE in faults:
            self._kept_back = self._last
            return SentFrame([], faults=faults)
        if self._kept_back is not None:
            sent.chunks.extend(self._kept_back.chunks)
            self._kept_back = None
        return sent

    def _clock_ns(self, faults: tuple[Fault, ...], unix_ns: int) -> int:
        if Fault.NO_CLOCK in faults:
            return 0
        if Fault.FROZEN_CLOCK in faults:
            self._frozen_ns = self._frozen_ns or unix_ns
            return self._frozen_ns
        self._frozen_ns = None
        jump_ns = _CLOCK_JUMP_NS * ((Fault.CLOCK_FORWARD in faults) - (Fault.CLOCK_BACKWARD in faults))
        return unix_ns + jump_ns - (STALE_NS if Fault.STALE in faults else 0)

    def _count_dose(self, gantry: Gantry, exposed: Exposed) -> None:
        at_detector_mgy = exposed.photons_per_mm2 * self.script.exposure.beam.kerma_mgy_per_photon_mm2
        rows, columns = gantry.size
        area_mm2 = rows * columns * gantry.pitch_row_mm * gantry.pitch_column_mm
        nearer = gantry.source_to_detector_mm / reference_point_mm(gantry)
        self._kerma_mgy += at_detector_mgy * nearer**2
        self._dap_gycm2 += at_detector_mgy * area_mm2 * _KERMA_PER_DAP

    def _technique(self) -> Technique:
        return Technique(
            kvp=self.script.exposure.kvp,
            tube_current_ma=_TUBE_CURRENT_MA,
            pulse_width_ms=_PULSE_WIDTH_MS,
            air_kerma_mgy=self._kerma_mgy,
            dose_area_product_gycm2=self._dap_gycm2,
        )


def sweep(start: Gantry, end: Gantry, *, poses: int, frames_each: int) -> tuple[Stop, ...]:
    """From one place to another in equal steps, both ends aside; angles the shorter way round.

    Args:
        start, end: may differ in angles, distances, table and rotation; all else is `start`'s.
        poses: stops between them.
        frames_each: pictures at each.
    """
    stops = []
    for n in range(1, poses + 1):
        part = n / (poses + 1)
        turn = (end.primary_deg - start.primary_deg + 180.0) % 360.0 - 180.0
        primary = (start.primary_deg + part * turn + 180.0) % 360.0 - 180.0
        between = replace(
            start,
            primary_deg=primary,
            secondary_deg=_mixed(start.secondary_deg, end.secondary_deg, part),
            detector_rotation_deg=_mixed(start.detector_rotation_deg, end.detector_rotation_deg, part),
            source_to_detector_mm=_mixed(start.source_to_detector_mm, end.source_to_detector_mm, part),
            table_mm=(
                _mixed(start.table_mm[0], end.table_mm[0], part),
                _mixed(start.table_mm[1], end.table_mm[1], part),
                _mixed(start.table_mm[2], end.table_mm[2], part),
            ),
        )
        stops.append(Stop(gantry=between, frames=frames_each))
    return tuple(stops)


def _mixed(start: float, end: float, part: float) -> float:
    return start + part * (end - start)


def _as_type(picture: npt.NDArray[np.uint16], pixel_type: PixelType) -> npt.NDArray[Any]:
    """The same picture in another type; 16 bits to 8 by the high byte, signed ones from the middle."""
    match pixel_type:
        case "uint8":
            return (picture >> 8).astype(np.uint8)
        case "int8":
            return ((picture >> 8).astype(np.int16) - 128).astype(np.int8)
        case "int16":
            return (picture >> 1).astype(np.int16)
        case "float32":
            return picture.astype(np.float32)
        case _:
            return picture


def _matrix12(matrix: F64) -> tuple[float, ...]:
    return tuple(float(value) for value in matrix[:3, :4].T.ravel())
