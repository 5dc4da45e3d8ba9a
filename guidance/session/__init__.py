"""The live session: what is known, what can happen, and the step from one to the next."""

from guidance.session.events import (
    CaseEdited,
    ConnectionClosed,
    DrawFrame,
    Effect,
    Event,
    FrameArrived,
    FrameMeasured,
    InputChanged,
    MeasureFrame,
    PlanWorkedOut,
    PublishNeedleTip,
    PublishPlan,
    PublishZones,
    StoreCase,
    Tick,
    TransformArrived,
)
from guidance.session.planned import Planned, aid_key, watch_key, watch_of
from guidance.session.state import InputTrack, Session, active_volume
from guidance.session.step import may_be_shown, step

__all__ = [
    "CaseEdited",
    "ConnectionClosed",
    "DrawFrame",
    "Effect",
    "Event",
    "FrameArrived",
    "FrameMeasured",
    "InputChanged",
    "InputTrack",
    "MeasureFrame",
    "PlanWorkedOut",
    "Planned",
    "PublishNeedleTip",
    "PublishPlan",
    "PublishZones",
    "Session",
    "StoreCase",
    "Tick",
    "TransformArrived",
    "active_volume",
    "aid_key",
    "may_be_shown",
    "step",
    "watch_key",
    "watch_of",
]
