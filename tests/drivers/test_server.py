"""The whole server on loopback: a frame in, the overlay out, and every fault that must not draw."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.server import GuidanceServer
from guidance.errors import ConfigError
from guidance.messages import CbctVolume, VolumeState
from tests.helpers.server_suite import COLUMNS, GEOMETRY, ROWS, Suite, server_settings

PATH = {
    "entry_lps_mm": [50, 0, 0],
    "target_lps_mm": [-50, 0, 0],
    "diameter_mm": 8.0,
    "label": "S1",
    "color": "#ff8000",
}
# Golden geometry of the design at a quarter of its size: +50 mm to the patient's left is 266.67 px / 4 to the right.
ENTRY_U, TARGET_U, CENTRE = 127.5 + 66.67, 127.5 - 66.67, 127.5


def _volume() -> CbctVolume:
    return CbctVolume(
        id="v1",
        series_instance_uid="1.2.3.4",
        study_instance_uid="1.2.3.5",
        patient_id="P",
        frame_of_reference_uid="1.2.3",
        patient_position="HFS",
        state=VolumeState.READY,
        shape_kji=(100, 100, 100),
        affine_lps_from_ijk=(1.0, 0, 0, -49.5, 0, 1.0, 0, -49.5, 0, 0, 1.0, -49.5, 0, 0, 0, 1.0),
    )


@pytest.fixture
async def suite(tmp_path: Path) -> AsyncIterator[Suite]:
    server = GuidanceServer(server_settings(tmp_path))
    await server.start()
    suite = Suite(server)
    await suite.connect()
    server.live.on_volume(_volume())
    yield suite
    suite.into.close()
    suite.out.close()
    await server.stop()


def _colored(layer: Any, color: str) -> Any:
    return (layer[..., :3] == tuple(bytes.fromhex(color[1:]))).all(axis=-1) & (layer[..., 3] > 0)


async def test_a_path_posted_over_http_is_drawn_where_the_golden_table_says(suite: Suite) -> None:
    stored = await suite.call("POST", "/api/v1/paths", PATH)
    await suite.frame(7)
    received, layer = await suite.overlay(number=7)
    assert received.timestamp == (1_700_000_000 << 32) + (7 << 27)
    assert received.metadata["Guidance.GeometryState"] == "trusted"
    assert received.metadata["Guidance.Input"] == "Fluoro"
    assert float(received.metadata["Guidance.LatencyMs"]) > 0
    assert received.metadata["Guidance.ResidualPx"] == ""
    drawn = _colored(layer, PATH["color"])
    centreline = drawn[126:130].any(axis=0)
    assert centreline[round(TARGET_U) + 4 : round(ENTRY_U) - 4].mean() > 0.9
    answer = await suite.call("GET", "/api/v1/geometry")
    (place,) = answer["inputs"]["Fluoro"]["paths"]
    assert place == {"id": stored["id"], "entry_px": place["entry_px"], "target_px": place["target_px"], "drawn": True}
    assert place["entry_px"] == pytest.approx([ENTRY_U, CENTRE], abs=0.01)
    assert len(answer["inputs"]["Fluoro"]["pixel_from_patient"]) == 12


async def test_burned_in_picture_is_the_layer_over_the_grey_picture(suite: Suite) -> None:
    await suite.call("POST", "/api/v1/paths", PATH)
    await suite.frame(1)
    first, second = await suite.overlay("Overlay"), await suite.overlay("OverlayLayer")
    assert first[0].timestamp == second[0].timestamp
    rgb, layer = first[1], second[1]
    clear = layer[..., 3] == 0
    assert (rgb[clear][:, 0] == rgb[clear][:, 1]).all()
    assert (rgb[clear][:, 1] == rgb[clear][:, 2]).all()
    solid = layer[..., 3] == 255
    assert solid.any()
    assert (rgb[solid] == layer[solid][:, :3]).all()


@pytest.mark.parametrize(
    ("metadata", "state"),
    [
        pytest.param({"FrameOfReferenceUID": "9.9.9"}, "withheld", id="foreign-frame"),
        pytest.param({"FrameOfReferenceUID": None}, "withheld", id="no-frame-of-reference"),
        pytest.param({"Live": "0"}, "withheld", id="held"),
        pytest.param({"SourceToDetectorMm": "nan"}, "withheld", id="nan"),
        pytest.param({"SourceToDetectorMm": "-1200"}, "withheld", id="negative"),
        pytest.param({"SourceToIsocenterMm": "1300"}, "withheld", id="isocentre-behind-detector"),
        pytest.param({"PrimaryAngleDeg": "30 40"}, "withheld", id="two-angles"),
        pytest.param({"TableMm": "0 0 0"}, "withheld", id="table-reference-unknown"),
        pytest.param({"ProjectionMatrix": "1 0 0 0 0 1 0 0 0 0 1 500"}, "withheld", id="mirrored-matrix"),
        pytest.param({key[5:]: None for key in GEOMETRY if "Live" not in key}, "absent", id="none-at-all"),
    ],
)
async def test_no_path_is_drawn_on_geometry_that_cannot_be_trusted(
    suite: Suite, metadata: dict[str, Any], state: str
) -> None:
    await suite.call("POST", "/api/v1/paths", PATH)
    await suite.frame(1, **metadata)
    received, layer = await suite.overlay(number=1)
    assert received.metadata["Guidance.GeometryState"] == state
    assert received.metadata["Guidance.Reason"]
    assert not _colored(layer, PATH["color"]).any()
    assert (layer[..., 3] > 0).any(), "the picture says why in words"
    await suite.frame(2)
    assert (await suite.overlay(number=2))[0].metadata["Guidance.GeometryState"] == "trusted"


async def test_a_repeated_picture_is_held(suite: Suite) -> None:
    await suite.call("POST", "/api/v1/paths", PATH)
    picture = np.full((ROWS, COLUMNS), 900, "<u2")
    await suite.frame(1, pixels=picture)
    await suite.frame(2, pixels=picture)
    received, layer = await suite.overlay(number=2)
    assert received.metadata["Guidance.GeometryState"] == "withheld"
    assert "HELD" in received.metadata["Guidance.Reason"]
    assert not _colored(layer, PATH["color"]).any()
    assert (await suite.call("GET", "/api/v1/geometry"))["inputs"]["Fluoro"]["state"] == "held"


async def test_biplane_inputs_come_out_under_their_letters(suite: Suite) -> None:
    await suite.frame(1, device="FluoroA")
    await suite.frame(1, device="FluoroB", PrimaryAngleDeg="90")
    seen = {(await suite.overlay(device))[0].device for device in ("OverlayLayerA", "OverlayLayerB")}
    assert seen == {"OverlayLayerA", "OverlayLayerB"}


async def test_size_changes_in_mid_stream(suite: Suite) -> None:
    await suite.frame(1)
    await suite.frame(2, rows=128)
    _, layer = await suite.overlay(number=2)
    assert layer.shape == (128, COLUMNS, 4)


async def test_a_closed_sender_leaves_no_path_on_the_screen(suite: Suite) -> None:
    await suite.call("POST", "/api/v1/paths", PATH)
    await suite.frame(1)
    assert _colored((await suite.overlay(number=1))[1], PATH["color"]).any()
    suite.into.close()
    received, layer = await suite.overlay()
    assert received.metadata["Guidance.GeometryState"] == "withheld"
    assert received.metadata["XRay.FrameNumber"] == "1"
    assert not _colored(layer, PATH["color"]).any()


async def test_an_unknown_device_is_refused_by_name(suite: Suite) -> None:
    await suite.frame(1, device="Ultrasound")
    answer = await suite.into.receive_type("STATUS")
    code, name, _ = answer.status()
    assert (code, name) == (12, "UnknownDevice")
    await suite.frame(1)
    assert (await suite.overlay(number=1))[0].metadata["Guidance.GeometryState"] == "trusted"
    counters = (await suite.call("GET", "/api/v1/status"))["counters"]
    assert counters["openigtlink_UnknownDevice"] == 1


async def test_paths_survive_a_restart(suite: Suite, tmp_path: Path) -> None:
    stored = await suite.call("POST", "/api/v1/paths", PATH)
    again = GuidanceServer(server_settings(tmp_path))
    await again.start()
    try:
        assert [path.id for path in again.live.case().paths] == [stored["id"]]
    finally:
        await again.stop()


async def test_a_taken_port_is_named(suite: Suite, tmp_path: Path) -> None:
    second = GuidanceServer(server_settings(tmp_path / "other", GUIDANCE_HTTP_PORT=str(suite.http)))
    with pytest.raises(ConfigError) as caught:
        await second.start()
    await second.stop()
    assert str(suite.http) in str(caught.value)
    assert caught.value.mend


async def test_wrong_fields_are_named(suite: Suite) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        await suite.call("POST", "/api/v1/paths", PATH | {"diameter_mm": -1})
    problem = json.loads(caught.value.read())
    caught.value.close()
    assert problem["errors"][0]["field"] == "diameter_mm"
