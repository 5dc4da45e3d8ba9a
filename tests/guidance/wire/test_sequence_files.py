"""Geometry files of sequences: every way of saying the same, and every way of saying it wrong."""

from __future__ import annotations

import json

import pytest

from guidance.errors import WireError
from guidance.wire.sequence_files import SequenceFile, read_sequence

KEYS = {"XRay.PrimaryAngleDeg": 180, "XRay.KVp": 80}


def _read(told: object) -> SequenceFile:
    return read_sequence(json.dumps(told).encode(), origin="g.json")


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(KEYS, id="keys-alone"),
        pytest.param({"geometry": KEYS}, id="geometry"),
        pytest.param({"frames": [KEYS]}, id="one-frame"),
        pytest.param([KEYS], id="list"),
        pytest.param([{"geometry": KEYS}], id="list-of-geometry"),
        pytest.param({"geometry": [KEYS]}, id="geometry-is-a-list"),
        pytest.param({"geometry": {"XRay.KVp": 80}, "frames": [{"XRay.PrimaryAngleDeg": 180.0}]}, id="parts"),
    ],
)
def test_the_same_said_in_every_way(told: object) -> None:
    assert _read(told).frames == ({"XRay.PrimaryAngleDeg": "180", "XRay.KVp": "80"},)


def test_what_differs_from_picture_to_picture() -> None:
    found = _read(
        {
            "name": "FluoroA",
            "geometry": KEYS,
            "rate_hz": 7.5,
            "frames": [{"XRay.KVp": 80}, {"XRay.KVp": 86, "XRay.TableMm": [0, 0, 5]}],
            "reference": {"XRay.KVp": 78},
        }
    )
    assert [frame["XRay.KVp"] for frame in found.frames] == ["80", "86"]
    assert found.frames[1]["XRay.TableMm"] == "0 0 5"
    assert found.reference[0]["XRay.KVp"] == "78"
    assert (found.name, found.rate_hz, found.timestamps_s, found.files) == ("FluoroA", 7.5, (), None)


def test_frames_by_their_file_and_time() -> None:
    found = _read([{"file": "b.png", "time_s": 0.0, **KEYS}, {"file": "a.png", "time_s": 0.1, **KEYS}])
    assert found.files == {"b.png": 0, "a.png": 1}
    assert found.timestamps_s == (0.0, 0.1)


def test_keys_of_others_are_named() -> None:
    assert _read({"geometry": {**KEYS, "RoomName": "x"}}).ignored == ("RoomName",)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe", id="not-text"),
        pytest.param(b"[" * 5000, id="deep"),
        pytest.param(b"3", id="number"),
        pytest.param(b"[]", id="no-frame"),
        pytest.param(b"[3]", id="frame-is-a-number"),
        pytest.param(b'{"geometry": 5}', id="geometry-is-a-number"),
        pytest.param(b'{"geometri": {}}', id="member"),
        pytest.param(b'{"XRay.KVp": 80, "XRay.KVp": 90}', id="twice"),
        pytest.param(b'{"XRay.PrimryAngleDeg": 0}', id="misspelt"),
        pytest.param(b'{"rate_hz": 0}', id="no-rate"),
        pytest.param(b'{"rate_hz": "15"}', id="rate-in-words"),
        pytest.param(b'{"rate_hz": true}', id="rate-is-true"),
        pytest.param(b'{"timestamps_s": [0, 0]}', id="times-stand"),
        pytest.param(b'{"timestamps_s": [0, null]}', id="time-missing"),
        pytest.param(b'{"timestamps_s": [1], "frames": [{"time_s": 1}]}', id="times-twice"),
        pytest.param(b'{"frames": [{"file": "a"}, {}]}', id="one-file-named"),
        pytest.param(b'{"frames": [{"file": "a"}, {"file": "a"}]}', id="file-twice"),
        pytest.param(b'{"frames": [{"fyle": "a"}]}', id="frame-member"),
        pytest.param(b'{"name": 5}', id="name"),
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        read_sequence(data, origin="g.json")
    assert caught.value.code == "unreadable_view"
    assert "g.json" in str(caught.value)
