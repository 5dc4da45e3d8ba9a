"""What the broker is told of alerts: what is new, not every millimetre."""

from __future__ import annotations

from drivers.mqtt_reports import publish_alerts, publish_cement
from guidance.case import Author
from guidance.cement.alert_answers import AlertList
from guidance.messages import AlertCondition, AlertPriority, CementMaterial
from tests.helpers.cement import FORAMEN, FakeCementApi, drop, near_site


class Told:
    """What would be published."""

    def __init__(self):
        self.alerts = []
        self.cement = []

    def publish_alert(self, payload):
        self.alerts.append((payload.id, payload.priority, payload.present, payload.acknowledged_by))

    def publish_cement(self, payload):
        self.cement.append(payload)


def test_an_alert_is_told_when_it_has_something_new_to_say():
    api, told = FakeCementApi(), Told()
    low = AlertCondition(kind="vein", priority=AlertPriority.LOW, text="a vein", distance_mm=3.0)

    def now(*conditions):
        before = api.alerts()
        api.alarm(*conditions)
        publish_alerts(told, before, api.alerts())

    now(low)
    for tenths in range(29, 10, -1):  # nearer with every frame
        now(_nearer(low, tenths / 10))
    assert told.alerts == [("A1", "low", True, None)]
    api.now_ns += 1_000_000_000
    now(_nearer(low, 1.0, AlertPriority.HIGH))
    assert told.alerts[1:] == [("A1", "high", True, None)]
    before = api.alerts()
    api.acknowledge("A1", by="Ada")
    publish_alerts(told, before, api.alerts())
    assert told.alerts[2:] == [("A1", "high", True, "Ada")]
    now()
    assert told.alerts[3:] == [("A1", "high", False, "Ada")]
    assert api.alerts() == AlertList(items=())


def _nearer(condition, distance_mm, priority=None):
    return AlertCondition(
        kind=condition.kind,
        priority=priority or condition.priority,
        text=f"{distance_mm} mm",
        distance_mm=distance_mm,
    )


def test_cement_is_told_as_http_tells_it():
    api, told = FakeCementApi((FORAMEN,)), Told()
    api.start_cement(CementMaterial(opacity_per_mm=0.1), author=Author(via="server"))
    api.frame(drop(1), near_site(4.0))
    publish_cement(told, api.cement())
    [payload] = told.cement
    assert (payload.state, payload.frame_number, payload.schema_version) == ("tracking", 1, 1)
    assert [site.zone_id for site in payload.sites] == ["Z1"]
