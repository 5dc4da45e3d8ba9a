"""Cement followed in recorded pictures: the server's own engine, progress and alerts, one picture after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from drivers.commands.cement_inputs import PictureName, Sequence, load_picture
from drivers.commands.cement_poses import Pose, pose_of
from guidance.alerts.book import AlertBook, raised
from guidance.cement.alert_answers import AlertList, alert_list
from guidance.cement.answers import CementAnswer
from guidance.cement.engine import CementEngine
from guidance.cement.profiles import CementLibrary
from guidance.cement.progress import CementProgress, started, with_frame, with_time
from guidance.cement.told import cement_answer
from guidance.cement.values import CementFrame, CementScene
from guidance.cement.working_time import working_time
from guidance.config import Settings
from guidance.errors import ConfigError, GeometryError, WireError
from guidance.geometry.metadata import read_frame_number, read_metadata
from guidance.messages import CbctVolume, CementMaterial, CementRun, CementView, Finding, Severity, Zone

_BASE_NS: Final = 1_000_000_000_000  # of the pictures' own clock: a clock's reading is never 0
_NS: Final = 1e9
_LONGEST_INTERVAL_NS: Final = 5_000_000_000
_UNTIMED: Final = "no rate_hz and no timestamps_s are told"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FollowedPicture:
    """What is known after one picture.

    Attributes:
        device, name: of which input, and which picture.
        answer: as GET /cement; None: the picture was not followed, `reason` says why.
        view: maps of it; None like the answer.
    """

    device: str
    name: str
    answer: CementAnswer | None
    view: CementView | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """What is known beside the pictures.

    Attributes:
        volume: that zones and space are of; None: pictures alone.
        zones: in the volume's frame.
        scene: for the engine.
    """

    volume: CbctVolume | None = None
    zones: tuple[Zone, ...] = ()
    scene: CementScene = field(default_factory=CementScene)


class OfflineCement:
    """One run over recorded pictures.

    Args:
        sequences: one for each input.
        material: what flows; with neither brand nor opacity the front is followed without thickness.
        known: volume and zones.
        settings, library: the site's.
    """

    def __init__(
        self,
        sequences: tuple[Sequence, ...],
        material: CementMaterial,
        known: Scene,
        settings: Settings,
        library: CementLibrary,
    ) -> None:
        self._sequences, self._known, self._settings, self._library = sequences, known, settings, library
        self._engine = CementEngine(settings.cement, library)
        self._material = material
        self._cement = library.known(material)
        self._progress = CementProgress(zones=known.zones)
        self._book = AlertBook()
        self._poses: dict[str, tuple[float, ...] | None] = {}
        self._taken_ns: dict[str, int] = {}
        self._number = 0
        self._findings: dict[tuple[str, str], Finding] = {}
        # Inputs of different lengths of reference start together: time 0 is where the first frame is.
        self._origin_ns = {one.device: one.frames[0].time_ns for one in sequences}

    def pictures(self) -> Iterator[FollowedPicture]:
        """Follow them in order of time; one that cannot be read is told of, and the next one goes on.

        Raises:
            WireError: no picture of a reference can be read.
        """
        newest: dict[str, int] = {}
        for sequence in self._sequences:
            taken = [self._reference_frame(sequence.device, name) for name in sequence.reference]
            frames = [frame for frame in taken if frame is not None]
            if not frames:
                raise WireError(
                    f"no picture of the reference of {sequence.device} can be used: {self._last_reason()}",
                    code="no_reference",
                )
            for frame in frames:
                self._engine.keep(frame)
                newest[sequence.device] = frame.sequence
        run = CementRun(
            number=1, material=self._material, started_ns=_BASE_NS, after_sequence=tuple(sorted(newest.items()))
        )
        clock = working_time(
            self._cement, mixed_s=self._material.mixed_s_ago, temperature_c=self._material.temperature_c
        )
        ends_ns = None if clock.left_s is None else _BASE_NS + round(clock.left_s * _NS)
        self._progress = started(self._progress, run, self._known.zones, work_ends_ns=ends_ns)
        for sequence, name in self._in_time():
            yield self._followed(run, sequence, name)

    @property
    def alerts(self) -> AlertList:
        """Latched so far; their times count from the first picture."""
        return alert_list(self._book, wall_from_monotonic_ns=-_BASE_NS)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found about files and poses so far, each once."""
        return tuple(self._findings.values())

    def _in_time(self) -> Iterator[tuple[Sequence, PictureName]]:
        every = [
            (self._time_ns(one.device, name), number, one, name)
            for number, one in enumerate(self._sequences)
            for name in one.frames
        ]
        for _, _, sequence, name in sorted(every, key=lambda each: each[:2]):
            yield sequence, name

    def _time_ns(self, device: str, name: PictureName) -> int:
        return _BASE_NS + name.time_ns - self._origin_ns[device]

    def _reference_frame(self, device: str, name: PictureName) -> CementFrame | None:
        frame, reason = self._frame(device, name)
        if frame is None:
            self._find("picture_not_used", f"{name.path}: {reason}")
        return frame

    def _followed(self, run: CementRun, sequence: Sequence, name: PictureName) -> FollowedPicture:
        frame, reason = self._frame(sequence.device, name)
        if frame is None:
            self._find("picture_not_used", f"{name.path}: {reason}")
            return FollowedPicture(device=sequence.device, name=name.name, answer=None, view=None, reason=reason)
        seen = self._engine.follow(run, frame, self._known.scene)
        before = self._taken_ns.get(frame.device)
        self._taken_ns[frame.device] = frame.time_ns
        interval_ns = 0 if before is None else min(frame.time_ns - before, _LONGEST_INTERVAL_NS)
        settings, now_ns = self._settings.cement, frame.received_ns
        self._progress = with_frame(
            with_time(self._progress, now_ns, settings),
            seen,
            self._known.zones,
            interval_ns=interval_ns,
            now_ns=now_ns,
            settings=settings,
        )
        self._book = raised(self._book, self._progress.conditions, now_ns)
        mixed_s = self._material.mixed_s_ago
        clock = None
        if self._cement is not None:
            mixed_s = None if mixed_s is None else mixed_s + (now_ns - _BASE_NS) / _NS
            clock = working_time(self._cement, mixed_s=mixed_s, temperature_c=self._material.temperature_c)
        answer = cement_answer(self._progress, now_ns=now_ns, wall_from_monotonic_ns=-_BASE_NS, clock=clock)
        if not sequence.timed:
            answer = without_times(answer)
        return FollowedPicture(device=sequence.device, name=name.name, answer=answer, view=seen.view)

    def _frame(self, device: str, name: PictureName) -> tuple[CementFrame | None, str]:
        self._number += 1
        try:
            picture = load_picture(name)
            number = read_frame_number(name.metadata)
        except (ConfigError, WireError, GeometryError) as error:
            return None, str(error)
        pose = pose_of(picture.pixels, name.metadata, self._known.volume, self._settings.geometry, device=device)
        self._find_pose(device, pose)
        if pose.held:
            return None, pose.reason
        time_ns = self._time_ns(device, name)
        steady = self._poses.get(device) == pose.pixel_from_patient
        self._poses[device] = pose.pixel_from_patient
        return (
            CementFrame(
                device=device,
                sequence=self._number,
                frame_number=number,
                received_ns=time_ns,
                time_ns=time_ns,
                pixels=picture.pixels,
                intensity=picture.intensity,
                collimator_px=_blades(name.metadata),
                kvp=_kvp(name.metadata),
                pixel_from_patient=pose.pixel_from_patient,
                isocenter_lps_mm=pose.isocenter_lps_mm,
                pose=pose.pixel_from_patient,
                steady=steady,
            ),
            "",
        )

    def _find_pose(self, device: str, pose: Pose) -> None:
        if pose.pixel_from_patient is None and not pose.held:
            self._find("no_pose", f"{device}: {pose.reason}: pixels only")
        for words in pose.assumed:
            self._find("assumed", f"{device}: {words}")
        if pose.assumed and self._known.zones:
            raise GeometryError(
                f"{device}: {pose.assumed[0]}, so where zones are is not known",
                code="incomplete_geometry",
                mend="tell angles and XRay.IsocenterLpsMm",
            )

    def _find(self, code: str, message: str) -> None:
        self._findings.setdefault((code, message), Finding(code=code, severity=Severity.WARNING, message=message))

    def _last_reason(self) -> str:
        return list(self._findings.values())[-1].message if self._findings else "there is none"


def without_times(answer: CementAnswer) -> CementAnswer:
    """The same where nobody knows how fast the pictures were taken: no speed, no time to contact."""
    sites = tuple(
        msgspec.structs.replace(site, time_to_contact_s=None, reason=site.reason or _UNTIMED) for site in answer.sites
    )
    inputs = {
        device: msgspec.structs.replace(told, front_speed_px_s=None, front_speed_mm_s=None)
        for device, told in answer.inputs.items()
    }
    reasons = {**answer.reasons, "front_speed_mm_s": _UNTIMED}
    return msgspec.structs.replace(answer, front_speed_mm_s=None, sites=sites, inputs=inputs, reasons=reasons)


def _blades(metadata: Mapping[str, str]) -> tuple[int, int, int, int] | None:
    try:
        xray = read_metadata(metadata)
    except GeometryError:
        return None
    if xray.collimator_px is None or xray.fov_rotation_deg or xray.fov_flip:
        return None  # beside a turn or flip it is not said whether the blades are told before or after: they are found
    left, top, right, bottom = (round(value) for value in xray.collimator_px)
    return (left, top, right, bottom)


def _kvp(metadata: Mapping[str, str]) -> float | None:
    try:
        value = float(metadata.get("XRay.KVp", ""))
    except ValueError:
        return None
    return value if np.isfinite(value) and value > 0.0 else None
