"""MQTT driver without a broker: outbox rules, refused settings, off by default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drivers.mqtt import MqttPublisher
from drivers.mqtt_outbox import Outbox, Outgoing
from guidance.config import MqttSettings
from guidance.errors import ConfigError
from guidance.messages import Severity
from guidance.wire.mqtt import AlertPayload

_S = 1_000_000_000


def event(number: int) -> Outgoing:
    return Outgoing(topic="alert", payload=str(number).encode(), qos=1, retain=False, key="")


def state(number: int, key: str = "Fluoro") -> Outgoing:
    return Outgoing(topic="geometry", payload=str(number).encode(), qos=0, retain=False, key=key)


def publisher(**members: Any) -> MqttPublisher:
    return MqttPublisher(MqttSettings(**members), on_injector=lambda _: None, on_carm_event=lambda _: None)


async def test_events_keep_their_order_and_stay_until_sent() -> None:
    outbox = Outbox(10)
    for number in range(3):
        outbox.add_event(event(number))
    first = outbox.next_message(0)
    assert first == event(0) == outbox.next_message(0)
    assert first is not None
    outbox.sent(first, 0)
    assert outbox.next_message(0) == event(1)


async def test_more_events_than_fit_cost_the_oldest_and_are_counted() -> None:
    outbox = Outbox(3)
    for number in range(5):
        outbox.add_event(event(number))
    assert (outbox.next_message(0), outbox.events_lost) == (event(2), 2)


async def test_event_given_up_while_on_its_way_takes_no_other_with_it() -> None:
    outbox = Outbox(1)
    outbox.add_event(event(0))
    on_its_way = outbox.next_message(0)
    outbox.add_event(event(1))
    assert on_its_way is not None
    outbox.sent(on_its_way, 0)
    assert outbox.next_message(0) == event(1)


async def test_newest_state_wins_and_keeps_its_interval() -> None:
    outbox = Outbox(10)
    outbox.set_state(state(1), interval_s=1.0)
    outbox.set_state(state(2), interval_s=1.0)
    assert outbox.states_replaced == 1
    sent = outbox.next_message(0)
    assert sent == state(2)
    outbox.sent(sent, 0)
    outbox.set_state(state(3), interval_s=1.0)
    outbox.set_state(state(9, "FluoroB"), interval_s=1.0)
    assert outbox.next_message(_S - 1) == state(9, "FluoroB")
    outbox.sent(state(9, "FluoroB"), _S - 1)
    assert outbox.next_message(_S) == state(3)


async def test_state_replaced_while_on_its_way_is_still_sent() -> None:
    outbox = Outbox(10)
    outbox.set_state(state(1))
    on_its_way = outbox.next_message(0)
    outbox.set_state(state(2))
    assert on_its_way is not None
    outbox.sent(on_its_way, 0)
    assert outbox.next_message(0) == state(2)


async def test_off_while_no_broker_is_named() -> None:
    driver = publisher(outbox_limit=1)
    await driver.start()
    for number in range(3):
        driver.publish_alert(
            AlertPayload(id=str(number), code="x", severity=Severity.ERROR, text="x", raised_at="2026-01-01T00:00:00Z")
        )
    await driver.stop()
    assert driver.statistics().events_lost == 0


@pytest.mark.parametrize(
    ("members", "code"),
    [
        pytest.param({"url": "mqtt://host:99999"}, "bad_setting", id="port"),
        pytest.param({"url": "mqtt://"}, "bad_setting", id="no-host"),
        pytest.param({"url": "http://host"}, "bad_setting", id="scheme"),
        pytest.param({"suite": "a/b"}, "bad_setting", id="suite"),
        pytest.param({"url": "mqtts://host", "tls_ca": "missing.pem"}, "bad_certificate", id="authority"),
        pytest.param({"url": "mqtt://host", "password_file": "missing"}, "unreadable_file", id="password"),
    ],
)
async def test_settings_that_cannot_work_are_refused(members: dict[str, Any], code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        publisher(**members)
    assert caught.value.code == code
    assert caught.value.mend


async def test_not_a_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="TLS file"):
        publisher(url="mqtts://host", tls_ca=str(tmp_path / "ca.pem"))
