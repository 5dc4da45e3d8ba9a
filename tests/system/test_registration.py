"""The whole server and a patient who moves: it notices, registers anew when asked, and draws where the patient is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.server import GuidanceServer
from guidance.kernels.drr import ProjectionVolume
from guidance.messages import F64
from guidance.registration.values import small_motion
from simulators.cbct import DicomPeer, cbct_volume, send_cbct
from simulators.cbct_objects import CbctRun
from simulators.gantry import Gantry
from simulators.pelvis import ProceduralPelvis
from simulators.scene import Exposure, Scene, poisson_picture
from tests.helpers.server_suite import Suite, server_settings

_SIDE_PX = 512
_VIEWS = {"FluoroA": Gantry(), "FluoroB": Gantry(primary_deg=80.0, secondary_deg=5.0)}
_MOTION_VECTOR = np.array((6.0, -3.0, 4.0, 2.0, -3.0, 1.5))
_TARGETS_MM = 30.0 * np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, 0, 1]])


class MovingPatient:
    """A procedural pelvis in a biplane C-arm; where it lies is the test's to say."""

    def __init__(self) -> None:
        volume = ProceduralPelvis().volume(2.0)
        self.volume = volume
        self.middle: F64 = volume.center_lps_mm
        self.run = CbctRun(seed=1, kind="ct", patient_position="HFS", isocenter_lps_mm=tuple(self.middle.tolist()))
        self._numbers = 0

    def motion(self) -> F64:
        return small_motion(_MOTION_VECTOR, self.middle)

    def gantry(self, device: str) -> Gantry:
        pitch = 0.3 * 1024 / _SIDE_PX
        return replace(
            _VIEWS[device],
            detector_rows=_SIDE_PX,
            detector_columns=_SIDE_PX,
            pitch_row_mm=pitch,
            pitch_column_mm=pitch,
            isocenter_lps_mm=tuple(self.middle.tolist()),
        )

    def pictures(self, seen_lps_from_volume_lps: F64) -> dict[str, list[Any]]:
        """Three noisy pictures of each plane with the patient lying there."""
        moved = ProjectionVolume(self.volume.voxels_hu, seen_lps_from_volume_lps @ self.volume.affine_lps_from_ijk)
        exposure = Exposure()
        found: dict[str, list[Any]] = {}
        for device in _VIEWS:
            matrix = self.gantry(device).pixel_from_patient()
            seen = Scene(moved).transmission(matrix, (_SIDE_PX, _SIDE_PX), exposure.beam, threads=2)
            found[device] = [poisson_picture(seen, exposure, seed=seed) for seed in (1, 2, 3)]
        return found

    def told(self, device: str) -> dict[str, str]:
        gantry = self.gantry(device)
        x, y, z = self.middle.tolist()
        return {
            "PrimaryAngleDeg": str(gantry.primary_deg),
            "SecondaryAngleDeg": str(gantry.secondary_deg),
            "ImagerPixelSpacingMm": f"{gantry.pitch_row_mm} {gantry.pitch_column_mm}",
            "IsocenterLpsMm": f"{x} {y} {z}",
            "FrameOfReferenceUID": self.run.frame_of_reference_uid,
        }

    async def show(self, suite: Suite, pictures: dict[str, list[Any]]) -> dict[str, Any]:
        """Send one picture of each plane; each input's answer of /geometry for it."""
        self._numbers += 1
        number = self._numbers
        for device in _VIEWS:
            await suite.frame(number, device=device, pixels=pictures[device][number % 3], **self.told(device))
        answer = await suite.until(
            "GET",
            "/api/v1/geometry",
            lambda told: all(told["inputs"].get(device, {}).get("frame_number") == number for device in _VIEWS),
        )
        return answer["inputs"]


@pytest.fixture(scope="module")
def patient() -> MovingPatient:
    return MovingPatient()


@pytest.fixture
async def suite(patient: MovingPatient, tmp_path: Path) -> AsyncIterator[Suite]:
    settings = server_settings(
        tmp_path,
        GUIDANCE_DICOM_ENABLED="true",
        GUIDANCE_DICOM_PORT="0",
        # On a busy machine a picture waits for the test's next question.
        GUIDANCE_GEOMETRY_DEGRADED_AGE_MS="30000",
        GUIDANCE_GEOMETRY_MAXIMUM_AGE_MS="30000",
        GUIDANCE_OPENIGTLINK_INPUT_SILENCE_S="60",
    )
    server = GuidanceServer(settings)
    await server.start()
    suite = Suite(server)
    await suite.connect()
    port = int(server.listeners()["dicom"].partition(":")[2].partition(" ")[0])
    cbct = cbct_volume(patient.volume, spacing_mm=1.5, center_lps_mm=patient.middle)
    await asyncio.to_thread(send_cbct, cbct, patient.run, DicomPeer(port=port), None)
    await suite.until("GET", "/api/v1/case", lambda case: case["active_volume_id"])
    yield suite
    suite.into.close()
    suite.out.close()
    await server.stop()


async def _watched(patient: MovingPatient, suite: Suite, pictures: dict[str, list[Any]]) -> dict[str, Any]:
    """The first pictures that were held against the volume."""
    async with asyncio.timeout(60.0):
        while True:
            told = await patient.show(suite, pictures)
            if all(one["check"]["state"] != "unchecked" for one in told.values()):
                return told


async def test_a_patient_who_moved_is_noticed_and_registered_and_drawn_where_he_lies(
    patient: MovingPatient, suite: Suite
) -> None:
    middle = patient.middle
    path = {
        "entry_lps_mm": np.add(middle, (40.0, 0.0, 0.0)).tolist(),
        "target_lps_mm": np.subtract(middle, (10.0, 0.0, 0.0)).tolist(),
        "diameter_mm": 7.3,
    }
    await suite.call("POST", "/api/v1/paths", path)
    still = patient.pictures(np.eye(4))
    told = await _watched(patient, suite, still)
    assert {one["check"]["state"] for one in told.values()} == {"agrees"}
    assert {one["geometry_state"] for one in told.values()} == {"trusted"}
    epoch = (await suite.call("GET", "/api/v1/case"))["epoch"]

    moved = patient.pictures(patient.motion())
    told = await patient.show(suite, moved)
    assert {one["geometry_state"] for one in told.values()} == {"withheld"}
    assert not any(place["drawn"] for one in told.values() for place in one["paths"])
    assert (await suite.call("GET", "/api/v1/registration"))["offered"]

    answer = await suite.call("POST", "/api/v1/registration", {"inputs": list(_VIEWS)})
    assert answer["accepted"], answer
    found = np.array(answer["seen_lps_from_volume_lps"])
    targets = np.column_stack((middle + _TARGETS_MM, np.ones(len(_TARGETS_MM))))
    errors_mm = np.linalg.norm((targets @ (found - patient.motion()).T)[:, :3], axis=1)
    assert errors_mm.max() < 1.0
    state = await suite.call("GET", "/api/v1/registration")
    assert (state["registered"], state["inputs"], state["epoch"]) == (True, list(_VIEWS), epoch + 1)

    told = await patient.show(suite, moved)
    assert {one["geometry_state"] for one in told.values()} == {"trusted"}
    for device, one in told.items():
        truth = (
            np.append(path["target_lps_mm"], 1.0) @ (patient.gantry(device).pixel_from_patient() @ patient.motion()).T
        )
        [place] = one["paths"]
        assert place["drawn"]
        assert np.hypot(*(np.array(place["target_px"]) - truth[:2] / truth[2])) < 1.5

    await suite.call("DELETE", "/api/v1/registration")
    told = await patient.show(suite, moved)
    assert {one["geometry_state"] for one in told.values()} == {"withheld"}


async def test_without_a_picture_there_is_nothing_to_register(suite: Suite) -> None:
    status, problem = await suite.refused("POST", "/api/v1/registration", {})
    assert (status, problem["code"]) == (409, "no_view")
    status, problem = await suite.refused("POST", "/api/v1/registration", {"inputs": ["FluoroB"]})
    assert (status, problem["code"]) == (404, "unknown_input")


async def test_a_stream_in_no_known_frame_is_connected_by_registration(patient: MovingPatient, suite: Suite) -> None:
    pictures = patient.pictures(patient.motion())
    nameless = {device: patient.told(device) | {"FrameOfReferenceUID": None} for device in _VIEWS}
    for device in _VIEWS:
        await suite.frame(1, device=device, pixels=pictures[device][0], **nameless[device])
    told = await suite.until("GET", "/api/v1/geometry", lambda told: len(told["inputs"]) == len(_VIEWS))
    assert {one["geometry_state"] for one in told["inputs"].values()} == {"withheld"}
    answer = await suite.call("POST", "/api/v1/registration", {})
    assert answer["accepted"], answer
    for device in _VIEWS:
        await suite.frame(2, device=device, pixels=pictures[device][1], **nameless[device])
    told = await suite.until(
        "GET", "/api/v1/geometry", lambda told: all(one["frame_number"] == 2 for one in told["inputs"].values())
    )
    assert {one["geometry_state"] for one in told["inputs"].values()} == {"trusted"}
