"""A simulated injection as the server lives it, frame by frame: engine, progress, alerts; never the truth of it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from drivers.commands.cement_scoring import Raised, warns
from guidance.alerts.book import AlertBook, raised
from guidance.cement.engine import CementEngine
from guidance.cement.progress import CementProgress, started, with_frame, with_injector, with_time
from guidance.cement.space import CementSpace, cement_space
from guidance.cement.values import CementFrame, CementScene
from guidance.config import CementSettings
from guidance.consistency.volume import WatchVolume, watch_volume
from guidance.geometry.intensity import read_intensity
from guidance.geometry.metadata import read_metadata
from guidance.kernels.drr import ProjectionVolume
from guidance.messages import CementMaterial, CementRun, CementSeen, InjectorReading
from guidance.overlay.zones import ZonesOnPicture
from guidance.planning.surface import surface_of_shape
from guidance.tracking.find import find_instruments
from guidance.tracking.known_metal import KnownMetal, known_metal_of
from simulators.cement.case import CementCase
from simulators.cement.cases import grown, imaging_of, patient, shots_of
from simulators.cement.imaging import CementPicture
from simulators.volumes import resampled

FIELD_MM: Final = (230.0, 230.0, 170.0)  # of the cone-beam CT that the server is given
SPACING_MM: Final = 1.0
READING_S: Final = 0.25  # between two readings of the injector
_NS: Final = 1_000_000_000
_BASE_NS: Final = 1_000 * _NS


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """The patient, and what the server made of the cone-beam CT before the cement."""

    projection: ProjectionVolume
    watch: WatchVolume
    space: CementSpace
    metal: KnownMetal


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One frame that was taken and, after the start, followed.

    Attributes:
        view_index: of the imaging's views.
        picture: with its truth.
        seen: None before the start.
        spent_s: CPU time of following it, the search for instruments aside.
    """

    view_index: int
    picture: CementPicture
    seen: CementSeen | None
    spent_s: float


class FollowedCase:
    """One case being followed.

    Args:
        case: which.
        settings: of the server.
    """

    def __init__(self, case: CementCase, settings: CementSettings) -> None:
        self.case, self._settings = case, settings
        self.grown = grown(case)
        known = _patient_of(case.patient, case)
        self.imaging = imaging_of(case, self.grown, known.projection)
        self.surfaces = tuple((zone, surface_of_shape(zone.shape)) for zone in self.grown.zones)
        self.shots = shots_of(case)
        self.progress = CementProgress(zones=self.grown.zones)
        self.book = AlertBook()
        self.alerts: dict[str, Raised] = {}
        self._metal = known.metal
        self._scene = CementScene(
            zones=ZonesOnPicture(surfaces=self.surfaces),
            watch=known.watch,
            space=known.space,
            paths=self.grown.paths,
            metal=known.metal,
        )
        self.engine = CementEngine(settings)
        self._run: CementRun | None = None
        self._newest: dict[str, int] = {}
        self._taken_ns: dict[str, int] = {}
        self._poses: dict[str, tuple[float, ...]] = {}
        self._told_s = -math.inf
        self._next = 0

    @property
    def done(self) -> bool:
        """Whether the last frame has been taken."""
        return self._next == len(self.shots)

    def step(self) -> Step:
        """Take the next frame and follow it."""
        number, self._next = self._next, self._next + 1
        shot = self.shots[number]
        picture = self.imaging.picture(shot.view_index, shot.t_s, shot.frame_index)
        frame = self._frame(picture, number)
        if shot.t_s < 0.0:
            self._newest[frame.device] = frame.sequence
            self.engine.keep(frame)
            return Step(shot.view_index, picture, None, 0.0)
        if self._run is None:
            self._run = CementRun(
                number=1,
                material=CementMaterial(brand=self.case.brand, balloon=self.case.balloon_s is not None),
                started_ns=frame.received_ns,
                after_sequence=tuple(self._newest.items()),
            )
            self.progress = started(self.progress, self._run, self.grown.zones)
        self._inject(shot.t_s)
        scene = self._with_instruments(frame)
        began = time.thread_time()
        seen = self.engine.follow(self._run, frame, scene)
        spent_s = time.thread_time() - began
        self._take_in(seen, frame)
        return Step(shot.view_index, picture, seen, spent_s)

    def _frame(self, picture: CementPicture, number: int) -> CementFrame:
        """As the session makes one of what is sent."""
        told = read_metadata(picture.metadata)
        box, isocenter = told.collimator_px, told.isocenter_lps_mm
        received_ns = _BASE_NS + round(picture.t_s * _NS)
        pose = tuple(float(value) for value in picture.told_gantry.pixel_from_patient().ravel())
        steady = self._poses.get(picture.device) == pose
        self._poses[picture.device] = pose
        return CementFrame(
            device=picture.device,
            sequence=number,
            frame_number=int(picture.metadata["XRay.FrameNumber"]),
            received_ns=received_ns,
            time_ns=received_ns,
            pixels=picture.pixels,
            intensity=read_intensity(picture.metadata),
            collimator_px=None if box is None else (round(box[0]), round(box[1]), round(box[2]), round(box[3])),
            kvp=float(picture.metadata["XRay.KVp"]),
            pixel_from_patient=pose,
            isocenter_lps_mm=isocenter if isocenter is not None else (0.0, 0.0, 0.0),
            pose=pose,
            steady=steady,
        )

    def _inject(self, t_s: float) -> None:
        if t_s - self._told_s < READING_S:
            return
        self._told_s = t_s
        injection, now_ns = self.grown.injection, _BASE_NS + round(t_s * _NS)
        flow = injection.flow_ml_s(t_s)
        reading = InjectorReading(
            volume_ml=injection.injector_ml(t_s),
            flow_ml_s=flow,
            pressure_bar=None,
            elapsed_s=t_s,
            running=flow > 0.0,
            received_ns=now_ns,
        )
        self.progress = with_injector(self.progress, reading, now_ns, self._settings)
        self._tell(now_ns)

    def _with_instruments(self, frame: CementFrame) -> CementScene:
        assert frame.pixel_from_patient is not None
        found = find_instruments(
            frame.pixels,
            np.array(frame.pixel_from_patient).reshape(3, 4),
            self._scene.paths,
            intensity=frame.intensity.relationship,
            sign=frame.intensity.sign,
            known_metal=self._metal,
            collimator_px=frame.collimator_px,
        )
        return replace(self._scene, instruments=found)

    def _take_in(self, seen: CementSeen, frame: CementFrame) -> None:
        before = self._taken_ns.get(frame.device)
        self._taken_ns[frame.device] = frame.time_ns
        interval_ns = 0 if before is None else min(frame.time_ns - before, _NS)
        self.progress = with_frame(
            with_time(self.progress, frame.received_ns, self._settings),
            seen,
            self.grown.zones,
            interval_ns=interval_ns,
            now_ns=frame.received_ns,
            settings=self._settings,
        )
        self._tell(frame.received_ns)

    def _tell(self, now_ns: int) -> None:
        self.book = raised(self.book, self.progress.conditions, now_ns)
        t_s = (now_ns - _BASE_NS) / _NS
        for alert in self.book.alerts:
            known, condition = self.alerts.get(alert.id), alert.condition
            warned_s = known.warned_s if known is not None else None
            self.alerts[alert.id] = Raised(
                at_s=t_s if known is None else known.at_s,
                kind=condition.kind,
                zone_id=condition.zone_id,
                site=condition.site,
                priority=condition.priority,
                status=condition.status,
                warned_s=t_s if warned_s is None and warns(condition) else warned_s,
                text=condition.text,
            )


_known: dict[str, Patient] = {}


def _patient_of(name: str, case: CementCase) -> Patient:
    if name not in _known:
        while len(_known) >= 2:
            del _known[next(iter(_known))]
        volume = patient(case)
        field = resampled(volume, spacing_mm=SPACING_MM, center_lps_mm=volume.center_lps_mm, size_mm=FIELD_MM)
        _known[name] = Patient(
            projection=ProjectionVolume(volume.voxels_hu, volume.affine_lps_from_ijk),
            watch=watch_volume(field.voxels_hu, field.affine_lps_from_ijk),
            space=cement_space(field.voxels_hu, field.affine_lps_from_ijk),
            metal=known_metal_of(field.voxels_hu, field.affine_lps_from_ijk),
        )
    return _known[name]
