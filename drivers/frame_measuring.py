"""Measures frames in the compute thread: held against the volume, searched for instruments, followed for cement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from guidance.cement.engine import CementEngine
from guidance.cement.slices import CementSlice
from guidance.cement.values import CementFrame
from guidance.consistency.measure import FrameMeasurer
from guidance.consistency.measurement import Measurement
from guidance.consistency.volume import WatchVolume
from guidance.errors import GeometryError
from guidance.geometry.intensity import PixelIntensity, read_intensity
from guidance.geometry.metadata import read_metadata
from guidance.messages import F64, PlannedPath
from guidance.session import FrameMeasured, MeasureFrame
from guidance.tracking.find import find_instruments
from guidance.tracking.known_metal import KnownMetal
from guidance.tracking.sightings import FoundInstrument, Sighting, Sightings, found_instrument, known_paths, sighted
from guidance.tracking.values import InstrumentView, SeenInstrument
from guidance.uncertainty.band import picture_covariance_px
from guidance.uncertainty.values import FrameUncertainty, PoseUncertainty

_UNTOLD = PixelIntensity(relationship="DISP")


class FrameMeasuring:
    """Answers `MeasureFrame`; one thread.

    Args:
        cement: follows cement in all inputs.
    """

    def __init__(self, cement: CementEngine) -> None:
        self._cement = cement
        self._measurers: dict[str, tuple[WatchVolume, FrameMeasurer]] = {}
        self._sightings: dict[str, Sightings] = {}
        self._seen: dict[str, frozenset[str]] = {}
        self._epoch = -1

    def measured(self, asked: MeasureFrame) -> FrameMeasured:
        """Hold one frame against the volume, look along the paths where instruments are seen, and follow cement."""
        intensity = _intensity(asked)
        measured = FrameMeasured(
            track=asked.track, pixel_from_patient=asked.pixel_from_patient, watch=asked.watch, measurement=None
        )
        if asked.watch is not None:
            measurement = self._held_against(asked, asked.watch, intensity)
            found = () if asked.metal is None else self._instruments(asked, asked.metal, intensity)
            measured = replace(measured, measurement=measurement, found=found)
        if asked.cement is not None:
            wanted = asked.cement
            instruments = tuple(found.view.seen for found in measured.found)
            scene = replace(wanted.scene, instruments=instruments, metal=asked.metal)
            measured = replace(measured, cement=self._cement.follow(wanted.run, wanted.frame, scene, body_now=False))
        return measured

    def slice_added(self, one: CementSlice) -> None:
        """A CT slice came while cement is followed."""
        self._cement.slice_added(one)

    def catch_up(self) -> None:
        """Have what cement is in 3D worked out, where that is due."""
        self._cement.catch_up()

    def keep(self, frame: CementFrame) -> None:
        """A live frame before cement is followed, to be compared with later."""
        self._cement.keep(frame)

    def _held_against(self, asked: MeasureFrame, watch: WatchVolume, intensity: PixelIntensity) -> Measurement:
        frame = asked.track.frame
        assert frame is not None
        held = self._measurers.get(frame.device)
        if held is None or held[0] is not watch:
            held = self._measurers[frame.device] = (watch, FrameMeasurer(watch))
        return held[1].measure(
            frame.pixels,
            _matrix(asked),
            intensity=intensity.relationship,
            sign=intensity.sign,
            collimator_px=_blades(asked),
            points_lps_mm=_path_points(asked),
        )

    def look_around(self, asked: MeasureFrame) -> None:
        """Search a frame along all paths, so that from the next one on what is new is looked for."""
        if asked.metal is not None:
            found = _seen_along(asked, asked.metal, asked.paths, _intensity(asked))
            self._seen[asked.track.device] = frozenset(seen.path_id for seen in found)

    def _instruments(
        self, asked: MeasureFrame, metal: KnownMetal, intensity: PixelIntensity
    ) -> tuple[FoundInstrument, ...]:
        """Instruments along the paths, each together with what other views have seen of it."""
        track, frame = asked.track, asked.track.frame
        assert frame is not None
        if track.epoch != self._epoch:
            self._sightings, self._epoch = {}, track.epoch
        matrix = _matrix(asked)
        found = []
        known = known_paths(asked.paths, self._seen.get(track.device, frozenset()))
        paths = {path.id: path for path in known}
        for seen in _seen_along(asked, metal, known, intensity):
            path = paths[seen.path_id]
            view = InstrumentView(
                seen=seen,
                pixel_from_patient=matrix,
                geometry_sigma_px=_geometry_sigma_px(path, matrix, track.uncertainty),
                name=track.device,
            )
            before = self._sightings.get(path.id)
            if before is None or before.path != path:
                before = Sightings(path=path)
            sighting = Sighting(device=track.device, view=view, received_ns=frame.received_ns)
            after = self._sightings[path.id] = sighted(before, sighting)
            found.append(found_instrument(after, view))
        self._seen[track.device] = frozenset(one.view.seen.path_id for one in found)
        return tuple(found)


def _seen_along(
    asked: MeasureFrame, metal: KnownMetal, paths: Sequence[PlannedPath], intensity: PixelIntensity
) -> tuple[SeenInstrument, ...]:
    frame = asked.track.frame
    assert frame is not None
    if not paths:
        return ()
    return find_instruments(
        frame.pixels,
        _matrix(asked),
        paths,
        intensity=intensity.relationship,
        sign=intensity.sign,
        known_metal=metal,
        collimator_px=read_metadata(frame.metadata).collimator_px,
    )


def _matrix(asked: MeasureFrame) -> F64:
    return np.array(asked.pixel_from_patient, np.float64).reshape(3, 4)


def _intensity(asked: MeasureFrame) -> PixelIntensity:
    assert asked.track.frame is not None
    try:
        return read_intensity(asked.track.frame.metadata)
    except GeometryError:
        return _UNTOLD  # what is told of it cannot be read, so nothing is taken for granted


def _blades(asked: MeasureFrame) -> tuple[int, int, int, int] | None:
    assert asked.track.frame is not None
    told = read_metadata(asked.track.frame.metadata).collimator_px
    if told is None:
        return None
    left, top, right, bottom = told
    return math.ceil(left), math.ceil(top), math.floor(right), math.floor(bottom)


def _geometry_sigma_px(path: PlannedPath, matrix: F64, uncertainty: FrameUncertainty | None) -> float:
    """By how much the geometry may misplace what is seen of a path, its middle standing for all of it."""
    if not isinstance(uncertainty, PoseUncertainty):
        return 0.0
    middle = (np.array(path.entry_lps_mm) + np.array(path.target_lps_mm)) / 2.0
    covariance = picture_covariance_px(middle[None], matrix, uncertainty)[0]
    return math.sqrt(max(float(np.linalg.eigvalsh(covariance)[-1]), 0.0))


def _path_points(asked: MeasureFrame) -> F64 | None:
    if not asked.paths:
        return None
    return np.array([end for path in asked.paths for end in (path.entry_lps_mm, path.target_lps_mm)])
