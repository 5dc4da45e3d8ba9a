"""The simulated suite: a CBCT run over DICOM, a C-arm going round the views of planned paths, then an injection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from guidance.errors import ConfigError
from guidance.kernels.drr import ProjectionVolume
from guidance.messages import F64, Vector3
from simulators.carm import CArmScript, Stop, sweep
from simulators.carm_metadata import Telling
from simulators.carm_stream import CArmStream
from simulators.cbct import DEFAULT_FIELD_MM, DicomPeer, cbct_volume, send_cbct
from simulators.cbct_objects import CbctRun, ObjectKind
from simulators.cement.demo import demo_imaging, demo_shots
from simulators.cement.grown import GrownCement
from simulators.cement.stream import CementStream, Growth
from simulators.gantry import Gantry, lps_from_equipment
from simulators.instruments import Cylinder
from simulators.openigtlink_peers import StreamReport
from simulators.scene import Scene
from simulators.volumes import HuVolume

Progress = Callable[[str, int, int], None]
"""(what, done, of all)."""

_PITCH_MM: Final = 0.37  # a detector of 38 cm: 237 mm at the isocentre, so that a path through both ilia is all seen
_STILL_FRAMES: Final = 75  # at each view
_POSES_BETWEEN: Final = 8
_FRAMES_MOVING: Final = 3  # at each pose between two views


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitePlan:
    """What the suite works on.

    Attributes:
        volume: the patient.
        paths: bodies of POST /api/v1/paths; the C-arm goes round their views.
        dicom: where the CBCT goes.
        openigtlink: (host, port) of the server's fluoroscopy input.
        patient_position: on the table.
        kind, spacing_mm, field_mm: of the CBCT: which objects, grid, field of view.
        telling: form of the geometry; its Frame of Reference is the run's.
        rate_hz: of the stream.
        instruments: put into the patient, seen on the pictures only.
        cement: what `injection` looks at; None: there is none.
        seed: of noise and UIDs.
    """

    volume: HuVolume
    paths: Sequence[Mapping[str, Any]]
    dicom: DicomPeer = field(default_factory=DicomPeer)
    openigtlink: tuple[str, int] = ("127.0.0.1", 18944)
    patient_position: str = "HFP"
    kind: ObjectKind = "ct"
    spacing_mm: float = 0.5
    field_mm: tuple[float, float, float] = DEFAULT_FIELD_MM
    telling: Telling = field(default_factory=Telling)
    rate_hz: float = 30.0
    instruments: tuple[Cylinder, ...] = ()
    cement: GrownCement | None = None
    seed: int = 1


class SimulatedSuite:
    """Runs a plan against a server; ends when cancelled, or after a number of frames."""

    def __init__(self, plan: SuitePlan) -> None:
        if not plan.paths:
            raise ConfigError("the suite has no path to look at", code="no_paths", mend="give at least one path")
        self.plan = plan
        ends = [np.asarray(path[key], float) for path in plan.paths for key in ("entry_lps_mm", "target_lps_mm")]
        x, y, z = np.mean(ends, axis=0).tolist()
        self.report = StreamReport()
        self._made: ProjectionVolume | None = None
        self.center_lps_mm: Vector3 = (x, y, z)
        self.cbct_run = CbctRun(
            seed=plan.seed,
            kind=plan.kind,
            patient_position=plan.patient_position,
            isocenter_lps_mm=self.center_lps_mm,
            table_mm=(0.0, 0.0, 0.0),
        )

    def script(self) -> CArmScript:
        """What the C-arm does: still at each view, moving between them, for ever."""
        first = Gantry(
            isocenter_lps_mm=self.center_lps_mm,
            patient_position=self.plan.patient_position,
            pitch_row_mm=_PITCH_MM,
            pitch_column_mm=_PITCH_MM,
        )
        views = [
            replace(first, primary_deg=primary, secondary_deg=secondary)
            for path in self.plan.paths
            for primary, secondary in path_views(
                path["entry_lps_mm"], path["target_lps_mm"], self.plan.patient_position
            )
        ]
        stops: list[Stop] = []
        for here, there in zip(views, [*views[1:], views[0]], strict=True):
            stops.append(Stop(gantry=here, frames=_STILL_FRAMES))
            if here != there:
                stops += sweep(here, there, poses=_POSES_BETWEEN, frames_each=_FRAMES_MOVING)
        return CArmScript(
            stops=tuple(stops),
            telling=replace(self.plan.telling, frame_of_reference_uid=self.cbct_run.frame_of_reference_uid),
            rate_hz=self.plan.rate_hz,
            seed=self.plan.seed,
        )

    async def send_cbct(self, progress: Progress | None = None) -> int:
        """The CBCT run; returns how many objects were stored. WireError as `simulators.cbct.send_cbct`."""
        volume = await asyncio.to_thread(
            cbct_volume,
            self.plan.volume,
            spacing_mm=self.plan.spacing_mm,
            center_lps_mm=np.asarray(self.center_lps_mm),
            field_mm=self.plan.field_mm,
        )
        return await asyncio.to_thread(send_cbct, volume, self.cbct_run, self.plan.dicom, progress)

    async def stream(self, frames: int | None = None) -> StreamReport:
        """The C-arm, from its first view on."""
        scene = Scene(await self._projection(), self.plan.instruments)
        stream = CArmStream(scene, [self.script()], connect=self.plan.openigtlink, report=self.report)
        return await stream.run(frames=frames)

    async def injection(self, growth: Growth | None = None) -> CementStream:
        """The C-arm that looks at an injection, after its round: AP, with a look from the side now and then.

        The round's instruments are out by then; there is a cannula.

        Args:
            growth: how far the injector is; None: it runs as planned.

        Raises:
            ConfigError: the plan has no cement.
        """
        plan = self.plan
        if plan.cement is None:
            raise ConfigError("the suite injects nothing", code="no_cement", mend="choose a volume that has a place")
        uid = self.cbct_run.frame_of_reference_uid
        imaging = demo_imaging(
            await self._projection(),
            plan.cement,
            replace(plan.telling, frame_of_reference_uid=uid),
            plan.patient_position,
        )
        return CementStream(imaging, demo_shots(), connect=plan.openigtlink, growth=growth, report=self.report)

    async def _projection(self) -> ProjectionVolume:
        if self._made is None:
            volume = self.plan.volume
            self._made = await asyncio.to_thread(ProjectionVolume, volume.voxels_hu, volume.affine_lps_from_ijk)
        return self._made

    async def run(self, progress: Progress | None = None, frames: int | None = None) -> StreamReport:
        """First the CBCT, then the C-arm."""
        await self.send_cbct(progress)
        return await self.stream(frames)


def path_views(
    entry_lps_mm: Sequence[float], target_lps_mm: Sequence[float], patient_position: str
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Primary and secondary angle (relative to the patient) of a path's bull's-eye and progression view.

    Of the two directions along the path, and of those across it, the one whose detector stands more above the table.
    """
    along = np.subtract(target_lps_mm, entry_lps_mm)
    along = along / np.linalg.norm(along)
    up = lps_from_equipment(patient_position) @ (0.0, -1.0, 0.0)
    bulls_eye = along if along @ up > 0.0 else -along
    across = up - (up @ along) * along
    if np.linalg.norm(across) < 1e-3:
        across = np.cross(along, np.eye(3)[np.argmin(np.abs(along))])
    return _angles(bulls_eye), _angles(across / np.linalg.norm(across))


def _angles(toward_detector: F64) -> tuple[float, float]:
    primary = float(np.degrees(np.arctan2(toward_detector[0], -toward_detector[1])))
    return primary, float(np.degrees(np.arcsin(np.clip(toward_detector[2], -1.0, 1.0))))
