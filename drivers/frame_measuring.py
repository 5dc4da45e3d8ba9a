"""Holds frames against the volume in the compute thread: one measurer per input, made anew with the volume."""

from __future__ import annotations

import math

import numpy as np

from guidance.consistency.measure import FrameMeasurer
from guidance.consistency.volume import WatchVolume
from guidance.errors import GeometryError
from guidance.geometry.intensity import PixelIntensity, read_intensity
from guidance.geometry.metadata import read_metadata
from guidance.messages import F64
from guidance.session import FrameMeasured, MeasureFrame

_UNTOLD = PixelIntensity(relationship="DISP")


class FrameMeasuring:
    """Answers `MeasureFrame`; one thread."""

    def __init__(self) -> None:
        self._measurers: dict[str, tuple[WatchVolume, FrameMeasurer]] = {}

    def measured(self, asked: MeasureFrame) -> FrameMeasured:
        """Hold one frame against the volume."""
        frame = asked.track.frame
        assert frame is not None
        held = self._measurers.get(frame.device)
        if held is None or held[0] is not asked.watch:
            held = self._measurers[frame.device] = (asked.watch, FrameMeasurer(asked.watch))
        try:
            intensity = read_intensity(frame.metadata)
        except GeometryError:
            intensity = _UNTOLD  # what is told of it cannot be read, so nothing is taken for granted
        measurement = held[1].measure(
            frame.pixels,
            np.array(asked.pixel_from_patient, np.float64).reshape(3, 4),
            intensity=intensity.relationship,
            sign=intensity.sign,
            collimator_px=_blades(asked),
            points_lps_mm=_path_points(asked),
        )
        return FrameMeasured(
            track=asked.track,
            pixel_from_patient=asked.pixel_from_patient,
            watch=asked.watch,
            measurement=measurement,
        )


def _blades(asked: MeasureFrame) -> tuple[int, int, int, int] | None:
    assert asked.track.frame is not None
    told = read_metadata(asked.track.frame.metadata).collimator_px
    if told is None:
        return None
    left, top, right, bottom = told
    return math.ceil(left), math.ceil(top), math.floor(right), math.floor(bottom)


def _path_points(asked: MeasureFrame) -> F64 | None:
    if not asked.paths:
        return None
    return np.array([end for path in asked.paths for end in (path.entry_lps_mm, path.target_lps_mm)])
