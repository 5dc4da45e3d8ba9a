"""The live session: what is known, what can happen, and the step from one to the next."""

from guidance.session.events import (
    CaseEdited,
    ConnectionClosed,
    DrawFrame,
    Effect,
    Event,
    FrameArrived,
    InputChanged,
    PublishPlan,
    StoreCase,
    Tick,
    TransformArrived,
)
from guidance.session.state import InputTrack, Session, active_volume
from guidance.session.step import may_be_shown, step

__all__ = [
    "CaseEdited",
    "ConnectionClosed",
    "DrawFrame",
    "Effect",
    "Event",
    "FrameArrived",
    "InputChanged",
    "InputTrack",
    "PublishPlan",
    "Session",
    "StoreCase",
    "Tick",
    "TransformArrived",
    "active_volume",
    "may_be_shown",
    "step",
]
