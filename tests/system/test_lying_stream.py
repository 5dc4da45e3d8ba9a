"""The whole server over its sockets, and a C-arm that lies: no path stays on the picture that the lie is told with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.commands.fault_scene import Pictures, own_cbct, procedural_patient
from drivers.server import GuidanceServer
from simulators.carm import CArmScript, SimulatedCArm, Stop
from simulators.carm_metadata import Telling
from simulators.cbct import DicomPeer, send_cbct
from simulators.cbct_objects import CbctRun
from simulators.faults import Fault, Faults
from simulators.gantry import Gantry
from tests.helpers.server_suite import Suite, server_settings

_RUN = CbctRun(patient_position="HFP", kind="xa3d")  # one object: quick on a busy machine
_COLOR = "#00e676"


@pytest.fixture
async def suite(tmp_path: Path) -> AsyncIterator[Suite]:
    settings = server_settings(
        tmp_path,
        GUIDANCE_DICOM_ENABLED="true",
        GUIDANCE_DICOM_PORT="0",
        # On a busy machine a picture waits for the test's next step.
        GUIDANCE_GEOMETRY_DEGRADED_AGE_MS="30000",
        GUIDANCE_GEOMETRY_MAXIMUM_AGE_MS="30000",
        GUIDANCE_OPENIGTLINK_INPUT_SILENCE_S="60",
    )
    server = GuidanceServer(settings)
    await server.start()
    suite = Suite(server)
    await suite.connect()
    port = int(server.listeners()["dicom"].partition(":")[2].partition(" ")[0])
    patient = procedural_patient(3.0)
    await asyncio.to_thread(send_cbct, own_cbct(patient), _RUN, DicomPeer(port=port), None)
    await suite.until("GET", "/api/v1/case", lambda case: case["active_volume_id"])
    path = dict(patient.paths[0]) | {"color": _COLOR}
    await suite.call("POST", "/api/v1/paths", path)
    yield suite
    suite.into.close()
    suite.out.close()
    await server.stop()


@dataclass
class LyingCArm:
    """A C-arm at the server's input; each frame is waited for at its output."""

    suite: Suite
    honest: Gantry = field(
        default_factory=lambda: Gantry(
            isocenter_lps_mm=procedural_patient(3.0).middle_lps_mm,
            patient_position="HFP",
            primary_deg=150.0,  # from straight behind, the procedural pelvis is nearly its own mirror image
            secondary_deg=20.0,
            detector_rows=512,
            detector_columns=512,
            pitch_row_mm=0.74,
            pitch_column_mm=0.74,
        )
    )
    seed: int = 0
    pictures: Pictures = field(default_factory=Pictures)

    async def shows(self, *stops: tuple[Gantry, Faults | None]) -> list[tuple[str, str, int]]:
        """One frame at each stop of a new run; of each: state, reason, how many px of the layer are the path's."""
        self.seed += 1
        script = CArmScript(
            stops=tuple(Stop(gantry=gantry, frames=1) for gantry, _ in stops),
            telling=Telling(frame_of_reference_uid=_RUN.frame_of_reference_uid),
            faults={n: faults for n, (_, faults) in enumerate(stops) if faults is not None},
            seed=self.seed,
        )
        carm, shown = SimulatedCArm(script), []
        for _ in stops:
            carm.advance()
            exposed = await asyncio.to_thread(
                self.pictures.exposed, procedural_patient(3.0), carm.stop.gantry, script.exposure
            )
            sent = carm.frame(exposed, time.time_ns())
            for chunk in sent.chunks:
                await self.suite.into.send(bytes(chunk))
            received, layer = await self.suite.overlay(number=int(sent.metadata["XRay.FrameNumber"]))
            metadata = received.metadata
            state, reason = metadata["Guidance.GeometryState"], metadata.get("Guidance.Reason") or ""
            shown.append((state, reason, _drawn_px(layer)))
        return shown

    async def until_checked(self) -> None:
        """Honest frames until they are held against the volume, which takes some making, and trusted."""
        async with asyncio.timeout(60.0):
            while True:
                shown = await self.shows((self.honest, None), (self.honest, None))
                answer = await self.suite.call("GET", "/api/v1/geometry")
                agrees = answer["inputs"]["Fluoro"]["check"]["state"] == "agrees"
                if agrees and [state for state, _, _ in shown] == ["trusted"] * 2:
                    return


def _drawn_px(layer: Any) -> int:
    color = tuple(bytes.fromhex(_COLOR[1:]))
    return int(np.count_nonzero((layer[..., :3] == color).all(axis=-1) & (layer[..., 3] > 0)))


async def test_no_lie_of_a_c_arm_leaves_a_path_on_its_picture(suite: Suite) -> None:
    carm = LyingCArm(suite)
    await carm.until_checked()
    here = carm.honest
    lies: dict[str, tuple[Gantry, Faults | None]] = {
        "flipped": (here, Fault.MIRRORED_PICTURE),
        "turned": (here, Fault.HALF_TURNED_PICTURE),
        "another zoom": (here, Fault.OTHER_ZOOM),
        "NaN": (here, Fault.NAN_METADATA),
        "table": (replace(here, table_mm=(0.0, 0.0, 10.0)), Fault.TABLE_NOT_TOLD),
        "patient": (replace(here, patient_moved=(10.0, 0.0, 0.0, 0.0, 0.0, 0.0)), None),
        "volume": (here, Fault.TURNED_ABOUT_Y),
        "number": (here, Fault.REPEATED_FRAME_NUMBER),
    }
    for name, lie in lies.items():
        before, lying, after = await carm.shows((here, None), lie, (here, None))
        assert (before[0], before[2] > 50) == ("trusted", True), name
        assert (lying[0], lying[2]) == ("withheld", 0), (name, lying)
        assert lying[1], name
        assert after[2] > 50, (name, after)  # an honest picture has its paths again; a warning may stand for a second
        await carm.until_checked()
    frozen = await carm.shows((here, None), (replace(here, primary_deg=140.0), Fault.FROZEN_PICTURE))
    assert (frozen[1][0], frozen[1][2]) == ("withheld", 0)


async def test_a_c_arm_and_a_table_that_move_and_say_so_keep_their_paths(suite: Suite) -> None:
    carm = LyingCArm(suite)
    await carm.until_checked()
    stops = [(replace(carm.honest, primary_deg=150.0 - 15.0 * n, table_mm=(0.0, 0.0, 4.0 * n)), None) for n in range(4)]
    shown = await carm.shows(*stops)
    assert [state for state, _, _ in shown] == ["trusted"] * 4, shown
    assert all(drawn > 50 for _, _, drawn in shown)
