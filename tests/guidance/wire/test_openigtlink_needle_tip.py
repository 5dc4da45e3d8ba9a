"""TRANSFORM NeedleTip_<path>: RAS, z along the instrument, and never a last place taken for the present one."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.tracking.place import instrument_3d
from guidance.wire.openigtlink.bodies import IDENTITY
from guidance.wire.openigtlink.decoder import Decoder
from guidance.wire.openigtlink.encoder import pack
from guidance.wire.openigtlink.needle_tip import needle_tip_device, needle_tip_transform
from tests.helpers.seen_rods import AXIS, PLAN, TIP, VIEWS, points_of, seen_in

PLACED = instrument_3d([seen_in(gantry, points_of()) for gantry in VIEWS[:2]])
ARGUMENTS = {"timestamp_igtl": 77, "input_device": "FluoroB"}


def test_tip_and_axis_in_ras():
    message = needle_tip_transform(PLAN, PLACED, **ARGUMENTS)
    matrix = np.array(message.matrix).reshape(4, 3).T  # columns x, y, z, tip
    assert matrix[:, 3] == pytest.approx(TIP * (-1, -1, 1), abs=1e-3)
    assert matrix[:, 2] == pytest.approx(AXIS * (-1, -1, 1), abs=1e-5)
    assert matrix[:, :3].T @ matrix[:, :3] == pytest.approx(np.eye(3), abs=1e-9)
    assert np.linalg.det(matrix[:, :3]) == pytest.approx(1.0)
    assert message.metadata["TransformStatus"] == "OK"
    assert message.metadata["Guidance.PathLabel"] == "S1 left"
    assert message.metadata["Guidance.Input"] == "FluoroB"
    assert message.timestamp_igtl == 77


@pytest.mark.parametrize("placed", [None, instrument_3d([]), replace(PLACED, tip_lps_mm=None)])
def test_what_is_not_known_is_invalid(placed):
    message = needle_tip_transform(PLAN, placed, **ARGUMENTS)
    assert message.metadata["TransformStatus"] == "INVALID"
    assert message.matrix == IDENTITY


@pytest.mark.parametrize("axis", [(1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)])
def test_any_direction_makes_a_frame(axis):
    message = needle_tip_transform(PLAN, replace(PLACED, axis=axis), **ARGUMENTS)
    matrix = np.array(message.matrix).reshape(4, 3).T
    assert matrix[:, :3].T @ matrix[:, :3] == pytest.approx(np.eye(3), abs=1e-9)


def test_it_goes_over_the_wire_under_a_legal_name():
    longest = replace(PLAN, id="ABCDEFGHIJ")
    message = needle_tip_transform(longest, PLACED, **ARGUMENTS)
    assert message.device == needle_tip_device("ABCDEFGHIJ") == "NeedleTip_ABCDEFGHIJ"
    assert len(message.device.encode()) <= 20
    decoder = Decoder()
    decoder.feed(pack(message, 2))
    heard = decoder.next_event()
    assert heard.device == message.device
    assert heard.matrix == pytest.approx(message.matrix, abs=1e-4)
