"""Instruments in the session: counted down on the picture; receivers are told their tips, and their end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from guidance.case import accept_registration
from guidance.config import OverlaySettings, TrackingSettings
from guidance.geometry.camera import project
from guidance.messages import F64, AcceptedRegistration
from guidance.overlay.scene import frame_scene
from guidance.session import CaseEdited, ConnectionClosed, FrameArrived, MeasureFrame, PublishNeedleTip, Session
from guidance.tracking.sightings import FoundInstrument
from guidance.tracking.values import InstrumentView, PlacedInstrument, SeenInstrument
from tests.guidance.test_session_measured import AGREES, answer, watched
from tests.helpers.live_session import PATH, after, drawn, live_frame

ENTRY, TARGET = np.array(PATH["entry_lps_mm"]), np.array(PATH["target_lps_mm"])
LENGTH_MM = float(np.linalg.norm(TARGET - ENTRY))


def seen_at(asked: MeasureFrame, part: float) -> InstrumentView:
    """A rod on the path with its tip so far along it, as this view shows it."""
    matrix: F64 = np.array(asked.pixel_from_patient).reshape(3, 4)
    ends = project(np.array((ENTRY, ENTRY + part * (TARGET - ENTRY))), matrix)[:, :2]
    seen = SeenInstrument(
        path_id="P1",
        centreline_px=ends,
        tip_px=(float(ends[1, 0]), float(ends[1, 1])),
        tip_sigma_px=0.5,
        tip_unknown="",
        sigma_px=0.2,
        diameter_px=16.0,
        contrast=0.5,
        score=0.9,
        bend_px=0.0,
    )
    return InstrumentView(seen=seen, pixel_from_patient=matrix, name="Fluoro")


def placed_at(part: float) -> PlacedInstrument:
    x, y, z = (ENTRY + part * (TARGET - ENTRY)).tolist()
    axis = (TARGET - ENTRY) / LENGTH_MM
    return PlacedInstrument(
        path_id="P1",
        accepted=True,
        reason="from 2 views",
        code="",
        tip_lps_mm=(x, y, z),
        axis=(float(axis[0]), float(axis[1]), float(axis[2])),
        curve_lps_mm=np.array((ENTRY, (x, y, z))),
        residual_px=0.1,
        residual_mm=0.02,
        tip_sigma_mm=0.2,
        tip_covariance_mm2=0.04 * np.eye(3),
        axis_sigma_deg=0.2,
        views=2,
    )


def shown(
    session: Session, number: int, part: float | None, placed: PlacedInstrument | None = None
) -> tuple[Session, list[Any]]:
    """The session after a frame that shows the instrument so far in; None: not."""
    ms = 100.0 + 33.0 * number
    session, [asked] = after(session, (FrameArrived(live_frame(number, ms)), ms))
    found = () if part is None else (FoundInstrument(view=seen_at(asked, part), placed=placed),)
    return after(session, (replace(answer(asked, AGREES), found=found), ms + 2))


def words(effects: list[Any]) -> str:
    [effect] = drawn(effects)
    scene = frame_scene(effect.track, watched().case.paths, OverlaySettings(), age_ms=1.0)
    return "\n".join(text.text for text in scene.texts)


def tips(effects: list[Any]) -> list[PublishNeedleTip]:
    return [effect for effect in effects if isinstance(effect, PublishNeedleTip)]


def test_depth_counts_down_and_one_view_says_what_it_assumes() -> None:
    session, effects = shown(watched(), 1, 0.5)
    assert f"{0.5 * LENGTH_MM:.1f} mm to target" in words(effects)
    assert "if on the planned path" in words(effects)
    told = []
    for number, part in enumerate((0.52, 0.54, 0.56, 0.58), start=2):
        session, effects = shown(session, number, part)
        [track] = drawn(effects)[0].track.instruments
        told.append(track.depth.to_target_mm)
    assert told == sorted(told, reverse=True)
    assert told[-1] == pytest.approx(0.42 * LENGTH_MM, abs=0.5)


def test_a_tip_in_3d_is_told_once_and_its_end_too() -> None:
    placed = placed_at(0.5)
    session, effects = shown(watched(), 1, 0.5, placed)
    assert [(tip.path.id, tip.placed) for tip in tips(effects)] == [("P1", placed)]
    assert "if on the planned path" not in words(effects)
    session, effects = shown(session, 2, 0.5, placed)
    assert tips(effects) == []
    session, effects = shown(session, 3, None)
    assert [(tip.path.id, tip.placed) for tip in tips(effects)] == [("P1", None)]
    assert "instrument not seen, depth unknown" in words(effects)
    _, effects = shown(session, 4, None)
    assert tips(effects) == []


def test_a_tip_is_not_known_any_more_when_its_input_is_gone() -> None:
    session, _ = shown(watched(), 1, 0.5, placed_at(0.5))
    session, effects = after(session, (ConnectionClosed(1), 200))
    assert [tip.placed for tip in tips(effects)] == [None]
    assert session.needle_tips == {}


def test_nothing_of_an_instrument_outlives_its_registration() -> None:
    session, _ = shown(watched(), 1, 0.5, placed_at(0.5))
    registration = AcceptedRegistration(
        seen_lps_from_volume_lps=tuple(np.eye(4).ravel().tolist()),
        pivot_lps_mm=(0.0, 0.0, 0.0),
        covariance=tuple(np.eye(6).ravel().tolist()),
        frame_of_reference_uid="1.2.3",
    )
    session, effects = after(session, (CaseEdited(accept_registration(session.case, registration)), 150))
    assert [tip.placed for tip in tips(effects)] == [None]
    assert drawn(effects)[0].track.instruments == ()


def test_a_picture_that_contradicts_its_geometry_places_nothing() -> None:
    session, _ = shown(watched(), 1, 0.5, placed_at(0.5))
    session, [asked] = after(session, (FrameArrived(live_frame(2, 166)), 166))
    far_off = replace(AGREES, residual_px=40.0, residual_mm=8.0, shift_mm=(8.0, 0.0))
    found = (FoundInstrument(view=seen_at(asked, 0.5), placed=placed_at(0.5)),)
    session, effects = after(session, (replace(answer(asked, far_off), found=found), 168))
    assert [tip.placed for tip in tips(effects)] == [None]
    assert "mm to target" not in words(effects)


def test_switched_off_nothing_is_looked_for() -> None:
    session = replace(watched(), tracking=TrackingSettings(instruments=False))
    _, [asked] = after(session, (FrameArrived(live_frame(1, 133)), 133))
    assert asked.metal is None
