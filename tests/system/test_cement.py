"""The whole server and cement: balls of cement that grow, projected in closed form, through a pelvis that it knows."""

from __future__ import annotations

import asyncio
import json
import struct
import urllib.error
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pynetdicom import AE

from drivers.server import GuidanceServer
from guidance.kernels.drr import ProjectionVolume
from guidance.messages import F32, F64
from guidance.wire.dicom_classes import CT_IMAGE
from simulators.cbct import DicomPeer, cbct_volume, send_cbct
from simulators.cbct_objects import CbctRun
from simulators.gantry import Gantry
from simulators.pelvis import ProceduralPelvis
from simulators.scene import Exposure, Scene
from tests.helpers.dicom_objects import ct_slice
from tests.helpers.server_suite import Suite, server_settings

SIDE_PX = 384
OPACITY_PER_MM = 0.06
VIEWS = {"FluoroA": Gantry(), "FluoroB": Gantry(primary_deg=90.0)}
OFFSET_MM = np.array((22.0, 12.0, 10.0))  # of the ball from the volume's middle: in the left ala
LEVEL = 6000.0
SCATTER = 0.5  # of the open primary's mean: flat


def chords(gantry: Gantry, center_lps_mm: F64, radius_mm: float) -> F32:
    """(rows, columns) length of each pixel's ray within a ball, mm."""
    matrix = gantry.pixel_from_patient()
    source = -np.linalg.solve(matrix[:, :3], matrix[:, 3])
    u, v = np.meshgrid(np.arange(SIDE_PX), np.arange(SIDE_PX))
    rays = np.stack((u, v, np.ones_like(u)), axis=-1).astype(np.float64) @ np.linalg.inv(matrix[:, :3]).T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    along = rays @ (center_lps_mm - source)
    off2 = np.sum((center_lps_mm - source) ** 2) - along**2
    return (2.0 * np.sqrt(np.maximum(radius_mm**2 - off2, 0.0))).astype(np.float32)


class Patient:
    """A procedural pelvis between two planes, and what flows into it."""

    def __init__(self) -> None:
        self.volume = ProceduralPelvis().volume(2.0)
        self.middle: F64 = self.volume.center_lps_mm
        self.place = self.middle + OFFSET_MM
        self.run = CbctRun(seed=1, kind="ct", patient_position="HFS", isocenter_lps_mm=tuple(self.middle.tolist()))
        self._scene = Scene(ProjectionVolume(self.volume.voxels_hu, self.volume.affine_lps_from_ijk))
        self._primary: dict[str, F32] = {}
        self._seed = 0

    def gantry(self, device: str) -> Gantry:
        pitch = 0.3 * 1024 / SIDE_PX * 0.8
        return replace(
            VIEWS[device],
            detector_rows=SIDE_PX,
            detector_columns=SIDE_PX,
            pitch_row_mm=pitch,
            pitch_column_mm=pitch,
            isocenter_lps_mm=tuple(self.middle.tolist()),
        )

    def picture(self, device: str, radius_mm: float, *, opacity: float = OPACITY_PER_MM) -> Any:
        """One noisy frame with a ball of cement of that radius, and scatter over all of it."""
        if device not in self._primary:
            matrix = self.gantry(device).pixel_from_patient()
            seen = self._scene.transmission(matrix, (SIDE_PX, SIDE_PX), Exposure().beam, threads=2)
            self._primary[device] = seen / np.median(seen[96:-96, 96:-96])
        primary = self._primary[device]
        through = np.exp(-opacity * chords(self.gantry(device), self.place, radius_mm)) if radius_mm > 0 else 1.0
        self._seed += 1
        counts = np.random.default_rng(self._seed).poisson(400.0 * (primary * through + SCATTER))
        return np.clip(counts * (LEVEL / 400.0), 0, 65535).astype(np.uint16)

    def shadow_mm2(self, device: str, radius_mm: float = 9.0) -> float:
        """Area of the ball's shadow where it is thicker than half a millimetre, at the isocentre's depth."""
        gantry = self.gantry(device)
        mm_per_px = gantry.pitch_row_mm * gantry.source_to_isocenter_mm / gantry.source_to_detector_mm
        return float(np.count_nonzero(chords(gantry, self.place, radius_mm) > 0.5)) * mm_per_px**2

    def told(self, device: str) -> dict[str, str]:
        numbers = " ".join(f"{value:.10g}" for value in self.gantry(device).pixel_from_patient().ravel())
        return {
            "ProjectionMatrix": numbers,
            "FrameOfReferenceUID": self.run.frame_of_reference_uid,
            "KVp": "80",
            "PrimaryAngleDeg": "",
            "SecondaryAngleDeg": "",
            "ImagerPixelSpacingMm": "",
            "IsocenterLpsMm": "",
            "SourceToDetectorMm": "",
            "SourceToIsocenterMm": "",
        }


def ball_ml(radius_mm: float) -> float:
    return 4.0 / 3.0 * np.pi * radius_mm**3 / 1000.0


@pytest.fixture(scope="module")
def patient() -> Patient:
    return Patient()


@pytest.fixture
async def suite(patient: Patient, tmp_path: Path) -> AsyncIterator[Suite]:
    settings = server_settings(
        tmp_path,
        GUIDANCE_DICOM_ENABLED="true",
        GUIDANCE_DICOM_PORT="0",
        GUIDANCE_GEOMETRY_DEGRADED_AGE_MS="30000",
        GUIDANCE_GEOMETRY_MAXIMUM_AGE_MS="30000",
        GUIDANCE_OPENIGTLINK_INPUT_SILENCE_S="60",
        GUIDANCE_CEMENT_GAP_S="30",  # on a busy machine a picture waits for the test's next question
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


class Player:
    """Sends frames of one or both planes and waits until each is told."""

    def __init__(self, suite: Suite, patient: Patient, devices: tuple[str, ...]) -> None:
        self._suite, self._patient, self._devices = suite, patient, devices
        self.number = 0

    async def send(self, radius_mm: float, *, known: bool = True, **changes: Any) -> dict[str, Any]:
        """One frame of each plane; the answer of /cement once all are followed, or taken in where none is."""
        self.number += 1
        number = self.number
        for device in self._devices:
            told = self._patient.told(device) if known else {"FrameOfReferenceUID": ""}
            if "intensity" in changes:
                told["PixelIntensityRelationship"] = changes["intensity"]
            pixels = changes.get("pixels", self._patient.picture(device, radius_mm))
            await self._suite.frame(number, device=device, pixels=pixels, **told)
        await self._suite.until(
            "GET",
            "/api/v1/geometry",
            lambda told: all(told["inputs"].get(name, {}).get("frame_number") == number for name in self._devices),
        )
        return await self._suite.call("GET", "/api/v1/cement")


async def thickness_map(suite: Suite, device: str, number: int) -> tuple[dict[str, str], F32]:
    """Metadata and pixels of the map of that frame; by then /cement tells of it."""
    async with asyncio.timeout(60.0):
        while True:
            received = await suite.out.receive_type("IMAGE", check_crc=False)
            told = received.metadata
            if received.device == "CementThickness" and told["Guidance.Input"] == device:
                assert (await suite.call("GET", "/api/v1/cement"))["frame_number"] >= int(told["XRay.FrameNumber"])
                if int(told["XRay.FrameNumber"]) == number:
                    break
    _, components, scalar, _, _, columns, rows, _ = struct.unpack_from(">HBBBB3H", received.content)
    assert (components, scalar) == (1, 10)
    return dict(told), np.frombuffer(received.content, "<f4", offset=72).reshape(rows, columns)


def zone(patient: Patient, name: str, offset: tuple[float, float, float], radius_mm: float) -> dict[str, Any]:
    return {
        "name": name,
        "site": "foramen",
        "side": "left",
        "kind": "keep_out",
        "shape": {
            "type": "sphere",
            "center_lps_mm": np.add(patient.place, offset).tolist(),
            "radius_mm": radius_mm,
        },
    }


async def test_two_planes_tell_volume_area_and_distances_of_a_growing_ball(patient: Patient, suite: Suite) -> None:
    near = await suite.call("POST", "/api/v1/zones", zone(patient, "near", (0.0, 0.0, -16.0), 4.0))
    far = await suite.call("POST", "/api/v1/zones", zone(patient, "far", (0.0, 0.0, 40.0), 5.0))
    # All that planning makes known for cement: zones' outlines, and where it can be.
    live = suite.server.live
    await suite.until(
        "GET",
        "/api/v1/case",
        lambda _: live.session.planned.space is not None and len(live.session.zones.surfaces) == 2,
    )
    play = Player(suite, patient, ("FluoroA", "FluoroB"))
    for _ in range(8):
        told = await play.send(0.0)
    assert told["state"] == "idle"
    started = await suite.call("POST", "/api/v1/cement/start", {"opacity_per_mm": OPACITY_PER_MM})
    assert started["state"] == "tracking"
    for radius_mm in np.linspace(0.5, 9.0, 35):
        told = await play.send(float(radius_mm))
    for _ in range(8):
        told = await play.send(9.0)
    assert told["state"] == "tracking"
    assert told["frame_number"] == play.number
    assert told["area_mm2"] == pytest.approx(max(map(patient.shadow_mm2, VIEWS)), rel=0.08)
    assert told["volume_low_ml"] <= ball_ml(9.0) <= told["volume_high_ml"]
    assert told["volume_ml"] == pytest.approx(ball_ml(9.0), rel=0.15)
    metadata, thickness_mm = await thickness_map(suite, "FluoroB", play.number)
    assert metadata["Guidance.GeometryState"] == "trusted"
    truth_mm = chords(patient.gantry("FluoroB"), patient.place, 9.0)
    inside = truth_mm > 6.0
    # The scene's scatter is flat and its volume cut, of which the server says that it knows the scatter to 0.13 of
    # ln(1 - share): 9 mm of this cement are known to a quarter by one view alone.
    assert np.median(thickness_mm[inside] / truth_mm[inside]) == pytest.approx(1.0, abs=0.25)
    assert np.count_nonzero(thickness_mm[truth_mm == 0.0]) < 0.3 * np.count_nonzero(inside)
    sites = {site["zone_id"]: site for site in told["sites"]}
    assert sites[near["id"]]["distance_mm"] == pytest.approx(16.0 - 4.0 - 9.0, abs=1.5)
    assert sites[near["id"]]["status"] == "approaching"
    assert sites[far["id"]]["status"] == "clear"
    assert sites[far["id"]]["distance_mm"] > 20.0
    for radius_mm in np.linspace(9.2, 14.0, 20):
        told = await play.send(float(radius_mm))
    for _ in range(4):
        told = await play.send(14.0)
    sites = {site["zone_id"]: site for site in told["sites"]}
    assert sites[near["id"]]["status"] == "contact"
    assert sites[near["id"]]["priority"] == "high"
    alerts = (await suite.call("GET", "/api/v1/alerts"))["items"]
    assert any(alert["zone_id"] == near["id"] and alert["status"] == "contact" for alert in alerts)
    while not (latched := json.loads((await suite.out.receive_type("STRING", check_crc=False)).content[4:])):
        pass
    assert any(alert["zone_id"] == near["id"] for alert in latched)
    stopped = await suite.call("POST", "/api/v1/cement/stop")
    assert stopped["state"] == "idle"


async def test_display_pictures_tell_the_front_and_no_thickness(patient: Patient, suite: Suite) -> None:
    play = Player(suite, patient, ("FluoroA",))

    def shown(radius_mm: float) -> Any:
        picture = patient.picture("FluoroA", radius_mm).astype(np.float64)
        return np.clip(65535 * (picture / 20000.0) ** 0.6, 0, 65535).astype(np.uint16)

    for _ in range(6):
        await play.send(0.0, pixels=shown(0.0), intensity="DISP")
    await suite.call("POST", "/api/v1/cement/start", {"opacity_per_mm": OPACITY_PER_MM})
    for radius_mm in np.linspace(1.0, 9.0, 16):
        told = await play.send(float(radius_mm), pixels=shown(float(radius_mm)), intensity="DISP")
    assert told["state"] == "tracking"
    assert told["volume_ml"] is None
    assert told["volume_low_ml"] is None
    assert told["reasons"]["volume_ml"]
    assert told["area_mm2"] == pytest.approx(patient.shadow_mm2("FluoroA"), rel=0.2)


def ct_slice_of(patient: Patient, radius_mm: float, offset_mm: float, frame_of_reference_uid: str) -> Any:
    """An axial slice of 5 mm through the patient, with the ball in it."""
    steps = np.arange(-40.0, 40.5, 1.0)
    x, y = np.meshgrid(patient.place[0] + steps, patient.place[1] + steps)
    points = np.stack((x, y, np.full(x.shape, patient.place[2] + offset_mm)), axis=-1)
    inverse = np.linalg.inv(patient.volume.affine_lps_from_ijk)
    i, j, k = np.moveaxis(np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int), -1, 0)
    hu = patient.volume.voxels_hu[k, j, i].astype(np.int16)
    hu[np.linalg.norm(points - patient.place, axis=-1) <= radius_mm] = 2600
    return ct_slice(
        hu,
        position=points[0, 0].tolist(),
        spacing=(1.0, 1.0),
        series_uid="1.2.826.0.1.3680043.10.77",
        FrameOfReferenceUID=frame_of_reference_uid,
    )


def store(port: int, datasets: list[Any]) -> None:
    entity = AE("CTFLUORO")
    entity.add_requested_context(CT_IMAGE)
    association = entity.associate("127.0.0.1", port, ae_title="GUIDANCE")
    assert association.is_established
    try:
        for dataset in datasets:
            assert association.send_c_store(dataset).Status == 0
    finally:
        association.release()


async def test_ct_slices_that_are_stored_while_cement_is_followed_correct_one_view(
    patient: Patient, suite: Suite
) -> None:
    await suite.until("GET", "/api/v1/case", lambda _: suite.server.live.session.planned.space is not None)
    inside = await suite.call("POST", "/api/v1/zones", zone(patient, "in it", (5.0, 0.0, 0.0), 4.0))
    port = int(suite.server.listeners()["dicom"].partition(":")[2].partition(" ")[0])
    play = Player(suite, patient, ("FluoroA",))
    for _ in range(8):
        await play.send(0.0)
    await suite.call("POST", "/api/v1/cement/start", {"opacity_per_mm": OPACITY_PER_MM})
    for radius_mm in np.linspace(0.5, 9.0, 20):
        before = await play.send(float(radius_mm))
    assert [site["status"] for site in before["sites"]] == ["contact_possible"]
    wide = before["volume_high_ml"] / before["volume_low_ml"]
    slices = [ct_slice_of(patient, 9.0, mm, patient.run.frame_of_reference_uid) for mm in (-5.0, 0.0, 5.0)]
    await asyncio.to_thread(store, port, [*slices, ct_slice_of(patient, 9.0, 0.0, "1.2.3.4")])

    async def counted() -> bool:
        text = await suite.text("/metrics")
        return all(
            f'code="{code}"}} {count}' in text
            for code, count in (("cement_slices", 3), ("cement_slice_of_another_frame", 1))
        )

    async with asyncio.timeout(60.0):
        while not await counted():
            await play.send(9.0)
        told = before
        while told["sites"][0]["status"] != "contact":
            told = await play.send(9.0)
    assert told["volume_ml"] is None  # still one view
    assert told["volume_low_ml"] <= ball_ml(9.0) <= told["volume_high_ml"]
    assert told["volume_high_ml"] / told["volume_low_ml"] < 0.8 * wide
    assert told["sites"][0]["zone_id"] == inside["id"]


async def test_without_geometry_it_is_followed_in_pixels(patient: Patient, suite: Suite) -> None:
    play = Player(suite, patient, ("FluoroA",))
    with pytest.raises(urllib.error.HTTPError) as caught:
        await suite.call("POST", "/api/v1/cement/start", {"opacity_per_mm": OPACITY_PER_MM})
    assert caught.value.code == 409
    for _ in range(6):
        await play.send(0.0, known=False)
    await suite.call("POST", "/api/v1/cement/start", {"opacity_per_mm": OPACITY_PER_MM})
    with pytest.raises(urllib.error.HTTPError) as caught:
        await suite.call("POST", "/api/v1/cement/start", {"opacity_per_mm": OPACITY_PER_MM})
    assert caught.value.code == 409
    for radius_mm in np.linspace(1.0, 8.0, 16):
        told = await play.send(float(radius_mm), known=False)
    assert told["state"] == "tracking"
    assert told["area_mm2"] is None
    assert told["reasons"]["area_mm2"]
    seen = told["inputs"]["FluoroA"]
    shadow = np.count_nonzero(chords(patient.gantry("FluoroA"), patient.place, 8.0) > 0.5)
    assert seen["area_px"] == pytest.approx(shadow, rel=0.12)
    black = np.zeros((SIDE_PX, SIDE_PX), np.uint16)
    told = await play.send(8.0, known=False, pixels=black)
    assert told["state"] == "lost"
    assert "black" in told["reason"]
    told = await play.send(8.0, known=False, pixels=np.zeros((100, 100), np.uint16))
    assert told["state"] == "lost"
    told = await play.send(8.2, known=False)
    assert told["state"] == "tracking"
    assert told["inputs"]["FluoroA"]["area_px"] == pytest.approx(shadow, rel=0.15)
