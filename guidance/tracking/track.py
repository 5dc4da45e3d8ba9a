"""One instrument over time: its depth smoothed, jumps held back until they are confirmed, and how it moves; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from guidance.tracking.values import InstrumentDepth, SeenInstrument

WINDOW_NS: Final = 1_000_000_000  # pulsatile pictures repeat within a second
_FORGOTTEN_NS: Final = 2_000_000_000  # a stream that comes back after that may show another world
_MOST_SAMPLES: Final = 64
_LEAST_SAMPLES: Final = 4
_LEAST_SPAN_NS: Final = 300_000_000
_JUMP_MM: Final = 2.0  # between two frames: a hammer's blow moves a pin less, a wrong finding more
_JUMP_SIGMAS: Final = 5.0
_STILL_MM_S: Final = 0.5  # slower than that is a hand at rest on the hub
_MOTION_SIGMAS: Final = 3.0
_LEAST_SIGMA_MM: Final = 0.05


class InstrumentMotion(StrEnum):
    """How an instrument moves along its path."""

    UNKNOWN = "unknown"
    STILL = "still"
    ADVANCING = "advancing"
    WITHDRAWING = "withdrawing"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentTrack:
    """What is known of one path's instrument from the frames so far.

    Attributes:
        path_id: whose it is.
        seen: in the newest frame; None where it was not found.
        depth: of the newest frame, smoothed; None where it was not found. Not told (`reason`) while a jump waits for
            the next frame to confirm it.
        motion: how it moved over the last second.
        speed_mm_s: along the path, towards the target positive; None while unknown.
        samples: received_ns, depth_mm and sigma_mm of the last second.
        jump: a sample that contradicts the others and waits for confirmation.
        jumps: how many were held back so far.
    """

    path_id: str
    seen: SeenInstrument | None = None
    depth: InstrumentDepth | None = None
    motion: InstrumentMotion = InstrumentMotion.UNKNOWN
    speed_mm_s: float | None = None
    samples: tuple[tuple[int, float, float], ...] = ()
    jump: tuple[int, float, float] | None = None
    jumps: int = 0


def observe(
    track: InstrumentTrack, seen: SeenInstrument | None, depth: InstrumentDepth | None, *, received_ns: int
) -> InstrumentTrack:
    """Take a frame's finding in.

    The smoothed depth is the value at this frame of a line through the last second's depths, so it does not lag
    behind a steady hand; where the instrument stands still it is their mean.

    Args:
        track: so far.
        seen, depth: of this frame; None where nothing was found.
        received_ns: monotonic, of this frame.
    """
    kept = tuple(sample for sample in track.samples if 0 <= received_ns - sample[0] <= WINDOW_NS)
    if track.samples and not 0 <= received_ns - track.samples[-1][0] <= _FORGOTTEN_NS:
        track, kept = replace(track, samples=(), jump=None), ()
    if depth is None or depth.depth_mm is None:
        motion, speed = _motion(kept)
        return replace(track, seen=seen, depth=depth, samples=kept, motion=motion, speed_mm_s=speed)
    new = (received_ns, depth.depth_mm, max(depth.sigma_mm or 0.0, _LEAST_SIGMA_MM))
    if not kept and track.samples and track.jump is None:
        kept = track.samples[-1:]
    if kept and _contradicts(kept, new):
        if track.jump is None or _far(track.jump, new):
            held = replace(
                depth, depth_mm=None, to_target_mm=None, off_axis_mm=None, sigma_mm=None, reason="it jumped: checking"
            )
            return replace(
                track,
                seen=seen,
                depth=held,
                samples=kept,
                jump=new,
                jumps=track.jumps + 1,
                motion=InstrumentMotion.UNKNOWN,
                speed_mm_s=None,
            )
        kept = (track.jump,)  # two frames that agree with each other: it is there now
    samples = (*kept, new)[-_MOST_SAMPLES:]
    motion, speed = _motion(samples)
    smoothed, sigma = _smoothed(samples, motion)
    shift = smoothed - depth.depth_mm
    to_target = None if depth.to_target_mm is None else depth.to_target_mm - shift
    told = replace(depth, depth_mm=smoothed, to_target_mm=to_target, sigma_mm=sigma)
    return replace(track, seen=seen, depth=told, samples=samples, jump=None, motion=motion, speed_mm_s=speed)


def _contradicts(kept: tuple[tuple[int, float, float], ...], new: tuple[int, float, float]) -> bool:
    expected = kept[-1][1]
    line = _line(kept)
    if line is not None:
        expected = line[0] + line[1] * (new[0] - kept[-1][0]) * 1e-9
    # Nearer to where it was or to where it was going: both are no jump.
    miss = min(abs(new[1] - expected), abs(new[1] - kept[-1][1]))
    return miss > max(_JUMP_MM, _JUMP_SIGMAS * math.hypot(new[2], kept[-1][2]))


def _far(first: tuple[int, float, float], second: tuple[int, float, float]) -> bool:
    return abs(first[1] - second[1]) > max(_JUMP_MM, _JUMP_SIGMAS * math.hypot(first[2], second[2]))


def _line(samples: tuple[tuple[int, float, float], ...]) -> tuple[float, float, float] | None:
    """Depth at the last sample, mm/s, and that speed's standard deviation; None of too few."""
    if len(samples) < _LEAST_SAMPLES or samples[-1][0] - samples[0][0] < _LEAST_SPAN_NS:
        return None
    numbers = np.array([((at - samples[-1][0]) * 1e-9, depth, sigma) for at, depth, sigma in samples])
    time_s, depth_mm = numbers[:, 0], numbers[:, 1]
    middle = float(time_s.mean())
    centred = time_s - middle
    power = float(centred @ centred)
    speed = float(centred @ depth_mm) / power
    level = float(depth_mm.mean())
    rest = depth_mm - level - speed * centred
    noise = math.sqrt(float(rest @ rest) / max(len(samples) - 2, 1))
    return level - speed * middle, speed, max(noise, _LEAST_SIGMA_MM) / math.sqrt(power)


def _motion(samples: tuple[tuple[int, float, float], ...]) -> tuple[InstrumentMotion, float | None]:
    line = _line(samples)
    if line is None:
        return InstrumentMotion.UNKNOWN, None
    _, speed, sigma = line
    if abs(speed) <= max(_STILL_MM_S, _MOTION_SIGMAS * sigma):
        return InstrumentMotion.STILL, 0.0
    return (InstrumentMotion.ADVANCING if speed > 0.0 else InstrumentMotion.WITHDRAWING), speed


def _smoothed(samples: tuple[tuple[int, float, float], ...], motion: InstrumentMotion) -> tuple[float, float]:
    """Depth now and its standard deviation: what frames have in common (geometry) does not average out."""
    floor = min(sigma for _, _, sigma in samples)
    if motion is InstrumentMotion.STILL:
        return float(np.mean([depth for _, depth, _ in samples])), floor
    line = _line(samples)
    if motion is InstrumentMotion.UNKNOWN or line is None:
        return samples[-1][1], samples[-1][2]
    return line[0], floor
