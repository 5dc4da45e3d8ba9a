"""The simulated injector: its curve, its faults, and that a stop is final."""

from __future__ import annotations

import json

import pytest

from guidance.cement.injector import InjectorTrack, observed
from guidance.errors import ConfigError, WireError
from guidance.wire.mqtt import decode_injector_state
from simulators.cement.injection import InjectionCurve
from simulators.injector import FaultTime, InjectorFault, SimulatedInjector, fault_time

CURVE = InjectionCurve(times_s=(0.0, 2.0, 22.0, 30.0), volumes_ml=(0.0, 0.0, 4.0, 4.0), dead_ml=0.5)


def during(fault, from_s=5.0, until_s=9.0):
    return SimulatedInjector(CURVE, [FaultTime(fault=fault, from_s=from_s, until_s=until_s)])


def test_it_tells_its_curve():
    injector = SimulatedInjector(CURVE)
    golden = b'{"volume_ml": 2.0, "flow_ml_s": 0.2, "pressure_bar": 19.03, "elapsed_s": 12.0, "running": true,'
    assert injector.reading(12.0) == golden + b' "schema_version": 1}'
    reading = decode_injector_state(injector.reading(25.0), 7)
    assert (reading.volume_ml, reading.flow_ml_s, reading.pressure_bar, reading.running) == (4.0, 0.0, 0.0, True)
    assert not decode_injector_state(injector.reading(30.0), 7).running


def test_thicker_cement_needs_more_pressure():
    injector = SimulatedInjector(CURVE)
    pressures = [json.loads(injector.reading(t_s))["pressure_bar"] for t_s in (3.0, 10.0, 21.0)]
    assert pressures == sorted(pressures)
    assert pressures[0] > 15.0


def test_a_stop_is_final_and_what_is_out_stays_out():
    injector = SimulatedInjector(CURVE)
    assert injector.command(b'{"command": "stop"}', 7.0)
    told = json.loads(injector.reading(20.0))
    assert (told["volume_ml"], told["flow_ml_s"], told["running"]) == (1.0, 0.0, False)
    assert injector.command(b'{"command": "stop"}', 9.0)
    assert (injector.stopped_s, injector.given_s(20.0)) == (7.0, 7.0)


@pytest.mark.parametrize(
    "payload",
    [b"stop", b'{"command": "start"}', b'{"command": "stop"', b"[]", b"", b"\xff\xfe", b'{"stop": true}', b"null"],
)
def test_what_is_no_stop_changes_nothing(payload):
    injector = SimulatedInjector(CURVE)
    assert not injector.command(payload, 7.0)
    assert (injector.refused_commands, injector.stopped_s, injector.running(8.0)) == (1, None, True)


def test_in_a_stall_there_is_pressure_and_no_flow_and_the_rest_comes_later():
    injector = during(InjectorFault.STALLED)
    told = json.loads(injector.reading(7.0))
    assert (told["flow_ml_s"], told["pressure_bar"], told["running"]) == (0.0, 160.0, True)
    assert told["volume_ml"] == pytest.approx(0.6)
    assert injector.volume_ml(9.0) == pytest.approx(0.6)
    assert injector.volume_ml(10.0) == pytest.approx(0.8)
    assert injector.running(33.0)
    assert not injector.running(34.0)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        pytest.param(InjectorFault.GARBLED, "refused", id="garbled"),
        pytest.param(InjectorFault.WORDS, "refused", id="words"),
        pytest.param(InjectorFault.NEGATIVE, "not believed", id="negative"),
        pytest.param(InjectorFault.HUGE, "not believed", id="huge"),
        pytest.param(InjectorFault.BEYOND_ALL, "not believed", id="beyond-all"),
        pytest.param(InjectorFault.NOT_TOLD, "taken", id="not-told"),
        pytest.param(InjectorFault.STALLED, "taken", id="stalled"),
        pytest.param(InjectorFault.OVER_AND_OVER, "taken", id="over-and-over"),
    ],
)
def test_what_the_server_makes_of_each_fault(fault, outcome):
    injector = during(fault)
    before = decode_injector_state(injector.reading(4.9), 1_000_000_000)
    track = observed(InjectorTrack(), before, started_ns=0)
    payload = injector.reading(6.0)
    if outcome == "refused":
        with pytest.raises(WireError) as caught:
            decode_injector_state(payload, 2_100_000_000)
        assert caught.value.code == "bad_injector_state"
    else:
        track = observed(track, decode_injector_state(payload, 2_100_000_000), started_ns=0)
        assert bool(track.refused) == (outcome == "not believed")
        assert track.reading.volume_ml == pytest.approx(before.volume_ml, abs=0.05)
    after = decode_injector_state(injector.reading(9.0), 5_100_000_000)
    assert after.volume_ml == pytest.approx(0.6 if fault is InjectorFault.STALLED else 1.4)
    assert not observed(track, after, started_ns=0).refused


def test_silence_is_silence():
    injector = during(InjectorFault.SILENT)
    assert [injector.reading(t_s) is None for t_s in (4.9, 5.0, 8.9, 9.0)] == [False, True, True, False]


def test_a_fault_is_read_from_a_word():
    assert fault_time("stalled@10-12.5") == FaultTime(fault=InjectorFault.STALLED, from_s=10.0, until_s=12.5)


@pytest.mark.parametrize(
    "text", ["", "stalled", "stalled@3", "upset@1-2", "silent@a-b", "silent@5-4", "silent@nan-nan"]
)
def test_what_is_no_fault_is_refused_with_the_mend(text):
    with pytest.raises(ConfigError) as caught:
        fault_time(text)
    assert caught.value.code == "bad_fault"
    assert "over_and_over" in caught.value.mend
