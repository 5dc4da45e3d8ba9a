"""Planning on the whole server: a CBCT and segmentations by DICOM, plans by HTTP, outlines on the live picture."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from drivers.server import GuidanceServer
from guidance.wire.dicom_classes import SEGMENTATION, XRAY_3D_ANGIOGRAPHIC
from tests.helpers.dicom_objects import multi_frame
from tests.helpers.dicom_segmentations import segment, segmentation
from tests.helpers.server_suite import PATIENCE_S, Suite, server_settings

_SIZE, _STEP_MM = 72, 2.5
_FIRST_MM = -(_SIZE - 1) / 2 * _STEP_MM
_BONE_RADIUS_MM = 15.0
PATH = {
    "entry_lps_mm": [60.0, 0.0, 0.0],
    "target_lps_mm": [-60.0, 0.0, 0.0],
    "diameter_mm": 8.0,
    "label": "across",
    "color": "#ff8000",
}
FORAMEN = {
    "name": "S1 foramen left",
    "site": "foramen",
    "side": "left",
    "kind": "keep_out",
    "shape": {"type": "tube", "points_lps_mm": [[30, -30, 20], [30, 30, 20]], "radius_mm": 5.0},
    "color": "#00c0a0",
}


def _cbct() -> Dataset:
    """A body (ellipsoid) in air with a straight bone of radius 15 mm from side to side, at the isocentre."""
    axis = _FIRST_MM + _STEP_MM * np.arange(_SIZE)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    hu = np.where((x / 85) ** 2 + (y / 60) ** 2 + (z / 85) ** 2 < 1.0, 40, -1000)
    bone = (y**2 + z**2 < _BONE_RADIUS_MM**2) & (abs(x) < 55.0)
    return multi_frame(
        np.where(bone, 700, hu).astype(np.int16),
        step=(0.0, 0.0, _STEP_MM),
        origin=(_FIRST_MM,) * 3,
        spacing=(_STEP_MM, _STEP_MM),
        FrameOfReferenceUID="1.2.3",
        PatientPosition="HFS",
    )


def _segmentation(patient: Dataset) -> Dataset:
    """A canal: 20 x 20 mm across, along the body, behind the bone."""
    frames = []
    for k in range(20, 52):
        plane = np.zeros((_SIZE, _SIZE), np.uint8)
        plane[46:54, 32:40] = 1
        frames.append((1, (_FIRST_MM, _FIRST_MM, _FIRST_MM + _STEP_MM * k), plane))
    made = segmentation(frames, [segment(1, "spinal canal")], spacing=(_STEP_MM, _STEP_MM))
    made.FrameOfReferenceUID = "1.2.3"
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID"):
        setattr(made, keyword, getattr(patient, keyword))
    return made


async def _send(server: GuidanceServer, *objects: Dataset) -> None:
    port = int(server.listeners()["dicom"].partition(":")[2].partition(" ")[0])

    def send() -> None:
        entity = AE()
        for sop_class in (XRAY_3D_ANGIOGRAPHIC, SEGMENTATION):
            entity.add_requested_context(sop_class)
        association = entity.associate("127.0.0.1", port)
        assert association.is_established
        assert [association.send_c_store(each).Status for each in objects] == [0] * len(objects)
        association.release()

    await asyncio.to_thread(send)


async def _started(folder: Path) -> Suite:
    server = GuidanceServer(server_settings(folder, GUIDANCE_DICOM_ENABLED="true", GUIDANCE_DICOM_PORT="0"))
    await server.start()
    suite = Suite(server)
    await suite.connect()
    return suite


async def _stopped(suite: Suite) -> None:
    suite.into.close()
    suite.out.close()
    await suite.server.stop()


@pytest.fixture
async def suite(tmp_path: Path) -> AsyncIterator[Suite]:
    suite = await _started(tmp_path)
    await _send(suite.server, _cbct())
    await suite.until("GET", "/api/v1/case", lambda case: case["active_volume_id"])
    yield suite
    await _stopped(suite)


async def test_clearance_of_a_path_to_a_zone_is_what_closed_form_says(suite: Suite) -> None:
    zone = await suite.call("POST", "/api/v1/zones", FORAMEN)
    path = await suite.call("POST", "/api/v1/paths", PATH)
    answer = await suite.call("GET", f"/api/v1/paths/{path['id']}/clearance")
    assert answer["length_mm"] == pytest.approx(120.0)
    (found,) = answer["zones"]
    assert found["zone_id"] == zone["id"]
    assert found["min_distance_mm"] == pytest.approx(20.0 - 5.0 - 4.0, abs=0.01)
    assert found["at_depth_mm"] == pytest.approx(30.0, abs=0.5)
    assert found["point_lps_mm"] == pytest.approx([30.0, 0.0, 15.0], abs=0.5)
    # Bone takes seconds; what is said of it then is the closed form's again.
    whole = await suite.until(
        "GET", f"/api/v1/paths/{path['id']}/clearance", lambda answer: answer["bone_margin_mm"] is not None
    )
    assert whole["bone_margin_mm"] == pytest.approx(_BONE_RADIUS_MM - 4.0, abs=0.6 * _STEP_MM)
    # What if: nothing of it is stored.
    nearer = {**PATH, "entry_lps_mm": [60.0, 0.0, 5.0], "target_lps_mm": [-60.0, 0.0, 5.0]}
    moved = await suite.call("POST", f"/api/v1/paths/{path['id']}/clearance", nearer)
    assert moved["zones"][0]["min_distance_mm"] == pytest.approx(6.0, abs=0.01)
    assert (await suite.call("GET", f"/api/v1/paths/{path['id']}"))["entry_lps_mm"] == PATH["entry_lps_mm"]


async def test_views_and_corridor_are_answered(suite: Suite) -> None:
    path = await suite.call("POST", "/api/v1/paths", PATH)
    views = (await suite.call("GET", f"/api/v1/paths/{path['id']}/views"))["views"]
    bulls_eye = [view for view in views if view["kind"] == "bulls_eye"]
    # The path runs along the patient's left-right axis: the detector is at his left, or at his right.
    assert {round(abs(view["primary_deg"])) for view in bulls_eye} == {90}
    assert all(view["reason"] for view in views)
    corridor = await suite.call("POST", "/api/v1/corridors", {"level": "free", "diameter_mm": 8.0, "margin_mm": 2.0})
    assert corridor["exists"] is True
    assert corridor["margin_mm"] == pytest.approx(_BONE_RADIUS_MM - 4.0, abs=0.6 * _STEP_MM)
    too_thick = await suite.call("POST", "/api/v1/corridors", {"level": "free", "diameter_mm": 40.0})
    assert too_thick["exists"] is False
    assert too_thick["largest_diameter_mm"] == pytest.approx(2 * _BONE_RADIUS_MM, abs=1.2 * _STEP_MM)


async def test_a_zone_is_outlined_on_the_live_picture_and_switched_off(suite: Suite) -> None:
    zone = await suite.call("POST", "/api/v1/zones", FORAMEN)
    number = 0

    async def outlined() -> Any:
        nonlocal number
        number += 1
        await suite.frame(number)
        received, layer = await suite.overlay(number=number)
        assert received.metadata["Guidance.GeometryState"] == "trusted"
        color = tuple(bytes.fromhex(FORAMEN["color"][1:]))
        return (layer[..., :3] == color).all(axis=-1) & (layer[..., 3] > 0)

    drawn = await outlined()
    async with asyncio.timeout(PATIENCE_S):
        while not drawn.any():
            drawn = await outlined()
    # 0/0, pitch 1.2 mm, magnification 1.6: the tube runs along the beam, 30 mm to the left and 20 mm to the head.
    middle_u, middle_v = round(127.5 + 30 * 1200 / 750 / 1.2), round(127.5 - 20 * 1200 / 750 / 1.2)
    around = drawn[middle_v - 12 : middle_v + 13, middle_u - 12 : middle_u + 13]  # its name stands further off
    rows, columns = np.nonzero(around)
    assert abs((columns.min() + columns.max()) / 2 - 12) < 2.0
    assert abs((rows.min() + rows.max()) / 2 - 12) < 2.0
    assert not around[12, 12]
    await suite.call("PATCH", f"/api/v1/zones/{zone['id']}", {"shown": False})
    assert not (await outlined()).any()


async def test_a_segmentation_by_dicom_becomes_zones_once(suite: Suite, tmp_path: Path) -> None:
    cbct = _cbct()
    await _send(suite.server, _segmentation(cbct))
    listed = await suite.until("GET", "/api/v1/zones", lambda answer: answer["items"])
    (zone,) = listed["items"]
    assert (zone["name"], zone["site"], zone["kind"]) == ("spinal canal", "canal", "keep_out")
    assert zone["frame_of_reference_uid"] == "1.2.3"
    path = await suite.call("POST", "/api/v1/paths", PATH)
    found = (await suite.call("GET", f"/api/v1/paths/{path['id']}/clearance"))["zones"][0]
    # The canal's wall is half a voxel in front of its first row of voxels.
    assert found["min_distance_mm"] == pytest.approx(_FIRST_MM + _STEP_MM * 45.5 - 4.0, abs=0.3)
    await suite.call("DELETE", f"/api/v1/zones/{zone['id']}")
    await _stopped(suite)
    again = await _started(tmp_path)
    await again.until("GET", "/api/v1/status", lambda answer: answer["ready"])
    await again.until("GET", "/api/v1/volumes", lambda answer: answer["items"])
    # Announced again with the volume, and not taken again: it was deleted. Undo brings it back.
    assert (await again.call("GET", "/api/v1/zones"))["items"] == []
    await again.call("POST", "/api/v1/undo")
    assert [item["id"] for item in (await again.call("GET", "/api/v1/zones"))["items"]] == [zone["id"]]
    await again.call("GET", f"/api/v1/paths/{path['id']}/clearance")
    await _stopped(again)


async def test_impossible_paths_are_refused_by_their_fields(suite: Suite) -> None:
    outside = {**PATH, "entry_lps_mm": [1000.0, 0.0, 0.0], "target_lps_mm": [1000.0, 50.0, 0.0]}
    status, problem = await suite.refused("POST", "/api/v1/paths", outside)
    assert (status, [each["field"] for each in problem["errors"]]) == (422, ["entry_lps_mm", "target_lps_mm"])
    swapped = {**PATH, "entry_lps_mm": [0.0, 0.0, 0.0], "target_lps_mm": [0.0, 75.0, 0.0]}
    status, problem = await suite.refused("POST", "/api/v1/paths", swapped)
    assert (status, [each["field"] for each in problem["errors"]]) == (422, ["target_lps_mm"])
    assert "swap" in problem["errors"][0]["message"]
    assert (await suite.call("GET", "/api/v1/paths"))["items"] == []


async def test_a_killed_planning_process_comes_back_with_the_next_question(suite: Suite) -> None:
    path = await suite.call("POST", "/api/v1/paths", PATH)
    await suite.call("GET", f"/api/v1/paths/{path['id']}/clearance")
    process = suite.server.planning.process
    first = process.process_id
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await suite.until("GET", "/api/v1/status", lambda status: status["counters"].get("planning_process_ended"))
    answer = await suite.call("GET", f"/api/v1/paths/{path['id']}/clearance")
    assert answer["length_mm"] == pytest.approx(120.0)
    assert process.process_id != first


async def test_undo_takes_the_last_change_back_and_the_audit_tells(suite: Suite) -> None:
    await suite.call("POST", "/api/v1/paths", PATH)
    await suite.call("POST", "/api/v1/zones", FORAMEN)
    await suite.call("POST", "/api/v1/undo")
    assert (await suite.call("GET", "/api/v1/zones"))["items"] == []
    assert len((await suite.call("GET", "/api/v1/paths"))["items"]) == 1
    await suite.call("POST", "/api/v1/redo")
    assert len((await suite.call("GET", "/api/v1/zones"))["items"]) == 1
    told = [line["what"] for line in (await suite.call("GET", "/api/v1/audit"))["items"]]
    assert told[-4:] == ["create path P1", "create zone Z1", "undo: create zone Z1", "redo: create zone Z1"]
