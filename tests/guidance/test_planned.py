"""What planning has worked out goes onto the picture only while it still holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from guidance.case import (
    Case,
    create_path,
    create_zone,
    delete_zone,
    update_case,
    update_path,
    update_zone,
    volume_changed,
)
from guidance.config import OverlaySettings
from guidance.messages import Zone
from guidance.overlay.scene import frame_scene
from guidance.overlay.zones import NO_ZONES, PathAid
from guidance.planning.surface import ZoneSurface, surface_of_shape
from guidance.session import CaseEdited, DrawFrame, FrameArrived, Planned, PlanWorkedOut, PublishZones, Session, aid_key
from tests.helpers.live_session import after, drawn, live_frame, planned_case, ready_volume

_FORAMEN: dict[str, Any] = {
    "name": "S1 left",
    "site": "foramen",
    "side": "left",
    "kind": "keep_out",
    "shape": {"type": "sphere", "center_lps_mm": [20.0, 0.0, 0.0], "radius_mm": 5.0},
}


def _with_zone() -> tuple[Session, Zone]:
    case, zone = create_zone(planned_case(), _FORAMEN)
    session, _ = after(Session(case=planned_case()), (FrameArrived(live_frame(1, 0.0)), 1.0), (CaseEdited(case), 2.0))
    return session, zone


def _surface(zone: Zone) -> ZoneSurface:
    return surface_of_shape(zone.shape)


def test_a_zone_without_its_surface_is_named_and_drawn_when_it_comes() -> None:
    session, zone = _with_zone()
    assert session.zones.missing == ("S1 left",)
    assert session.zones.surfaces == ()
    surface = _surface(zone)
    session, effects = after(session, (PlanWorkedOut(Planned(surfaces={zone.shape: surface})), 3.0))
    assert session.zones.surfaces == ((zone, surface),)
    assert session.zones.missing == ()
    assert [type(effect) for effect in effects] == [PublishZones, DrawFrame]
    assert drawn(effects)[0].again


def test_nothing_is_drawn_again_where_nothing_has_changed() -> None:
    session, zone = _with_zone()
    planned = Planned(surfaces={zone.shape: _surface(zone)})
    session, _ = after(session, (PlanWorkedOut(planned), 3.0))
    before = session.zones
    session, effects = after(session, (PlanWorkedOut(replace(planned, aids={})), 4.0))
    assert effects == []
    assert session.zones is before


def test_a_zone_keeps_its_outline_under_a_new_colour_and_loses_it_with_its_shape() -> None:
    session, zone = _with_zone()
    session, _ = after(session, (PlanWorkedOut(Planned(surfaces={zone.shape: _surface(zone)})), 3.0))
    case, recolored = update_zone(session.case, zone.id, {"color": "#123456"})
    session, effects = after(session, (CaseEdited(case), 4.0))
    assert session.zones.surfaces[0][0] == recolored
    assert drawn(effects)
    case, _ = update_zone(session.case, zone.id, {"shape": {"type": "sphere", "radius_mm": 6.0}})
    session, effects = after(session, (CaseEdited(case), 5.0))
    assert session.zones.surfaces == ()
    assert session.zones.missing == ("S1 left",)
    assert drawn(effects)


def test_a_deleted_zone_is_gone_from_the_picture_at_once() -> None:
    session, zone = _with_zone()
    session, _ = after(session, (PlanWorkedOut(Planned(surfaces={zone.shape: _surface(zone)})), 3.0))
    session, effects = after(session, (CaseEdited(delete_zone(session.case, zone.id)), 4.0))
    assert (session.zones.surfaces, session.zones.missing) == ((), ())
    assert drawn(effects)


def test_a_zone_of_another_frame_is_never_on_the_picture() -> None:
    session, zone = _with_zone()
    session, _ = after(session, (PlanWorkedOut(Planned(surfaces={zone.shape: _surface(zone)})), 3.0))
    foreign = replace(session.case, zones=(replace(zone, frame_of_reference_uid="9.9"),))
    session, _ = after(session, (CaseEdited(foreign), 4.0))
    assert (session.zones.surfaces, session.zones.missing) == ((), ())


def test_no_zone_is_on_the_picture_without_an_active_volume() -> None:
    case, zone = create_zone(Case(), _FORAMEN)
    session, _ = after(Session(case=case), (PlanWorkedOut(Planned(surfaces={zone.shape: _surface(zone)})), 1.0))
    assert session.zones is NO_ZONES


def test_a_margin_holds_for_the_very_path_and_zones_that_it_was_worked_out_from() -> None:
    session, _ = _with_zone()
    path = session.case.paths[0]
    planned = Planned(aids={path.id: (aid_key(session.case, path), PathAid(margin_mm=3.0))})
    session, effects = after(session, (PlanWorkedOut(planned), 3.0))
    assert session.aids == {path.id: PathAid(margin_mm=3.0)}
    assert drawn(effects)
    moved, _ = update_path(session.case, path.id, {"target_lps_mm": [0.0, 1.0, 2.0], "entry_lps_mm": [40.0, 1.0, 2.0]})
    assert after(session, (CaseEdited(moved), 4.0))[0].aids == {}
    more, _ = create_zone(session.case, {**_FORAMEN, "name": "another"})
    assert after(session, (CaseEdited(more), 4.0))[0].aids == {}
    newer = replace(session.case, epoch=session.case.epoch + 1)
    assert after(session, (CaseEdited(newer), 4.0))[0].aids == {}
    other, _ = create_path(session.case, {"entry_lps_mm": [1, 2, 3], "target_lps_mm": [4, 5, 6], "diameter_mm": 2})
    assert after(session, (CaseEdited(other), 4.0))[0].aids == session.aids


def test_the_operators_switch_takes_all_outlines_off_and_the_picture_says_so() -> None:
    session, zone = _with_zone()
    session, _ = after(session, (PlanWorkedOut(Planned(surfaces={zone.shape: _surface(zone)})), 3.0))
    session, effects = after(session, (CaseEdited(update_case(session.case, {"zones_shown": False})), 4.0))
    (again,) = drawn(effects)
    scene = frame_scene(again.track, session.case.paths, OverlaySettings(), age_ms=1.0, zones=session.zones)
    assert not [line for line in scene.lines if line.zone_id]
    assert "zones switched off" in [text.text for text in scene.texts]
    session, effects = after(session, (CaseEdited(update_case(session.case, {"zones_shown": True})), 5.0))
    scene = frame_scene(again.track, session.case.paths, OverlaySettings(), age_ms=1.0, zones=session.zones)
    assert {line.zone_id for line in scene.lines if line.zone_id} == {zone.id}


def test_a_margin_ends_with_the_voxels_that_it_was_measured_in() -> None:
    session, _ = _with_zone()
    path = session.case.paths[0]
    planned = Planned(aids={path.id: (aid_key(session.case, path), PathAid(margin_mm=3.0))})
    session, _ = after(session, (PlanWorkedOut(planned), 3.0))
    assert session.aids
    resent = volume_changed(session.case, ready_volume(shared_memory="another block"))
    session, effects = after(session, (CaseEdited(resent), 4.0))
    assert session.case.epoch == 1
    assert session.aids == {}
    assert drawn(effects)
