"""Names of views, which view would tell more, and a site's one line."""

import numpy as np
import pytest

from guidance.cement.words import angle_deg, direction_of, named, site_text, view_name, view_to_check
from guidance.messages import AlertPriority, SiteState, SiteStatus, ZoneKind, ZoneSide, ZoneSite
from tests.helpers.cement_views import zone
from tests.helpers.drawn import view

AP, PA, LATERAL = (0.0, -1.0, 0.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("angles", "name"),
    [
        ((0, 0), "AP"),
        ((180, 0), "AP"),
        ((90, 0), "lateral"),
        ((-90, 0), "lateral"),
        ((0, 90), "axial"),
        ((40, 0), "oblique"),
    ],
)
def test_views_are_named_by_the_direction_of_the_matrix(angles, name):
    direction = direction_of(view(*angles))
    assert np.linalg.norm(direction) == pytest.approx(1.0)
    assert view_name(direction) == name
    assert view_name(None) == ""


def test_the_direction_is_that_of_the_detector():
    # Primary 0: the detector is in front of the chest, towards -y; +90: on the patient's left, +x.
    np.testing.assert_allclose(direction_of(view(0, 0)), AP, atol=1e-9)
    np.testing.assert_allclose(direction_of(view(90, 0)), LATERAL, atol=1e-9)
    assert direction_of(None) is None
    assert direction_of((0.0,) * 12) is None
    assert angle_deg(AP, LATERAL) == pytest.approx(90.0)


@pytest.mark.parametrize(
    ("directions", "devices", "overlapped", "known", "word"),
    [
        ([AP], ["F"], "F", False, "the lateral view"),
        ([PA], ["F"], None, False, "the lateral view"),
        ([LATERAL], ["F"], "F", False, "the AP view"),
        ([(0.6, -0.8, 0.0)], ["F"], "F", False, "a view 90 deg from this one"),
        ([None], ["F"], None, False, "a second view"),
        ([AP, LATERAL], ["A", "B"], "A", False, "B, then CT or CBCT"),
        ([AP, LATERAL], ["A", "B"], None, False, ""),
        ([AP], ["F"], "F", True, "CT or CBCT"),
        ([AP], ["F"], None, True, ""),
        ([AP, PA], ["A", "B"], None, False, "the lateral view"),
    ],
)
def test_which_view_tells_more(directions, devices, overlapped, known, word):
    assert view_to_check(directions, devices, overlapped, known_in_space=known) == word


def test_a_name_has_site_and_side():
    assert named(zone(name="S1 foramen left", side=ZoneSide.LEFT)) == "S1 foramen left"
    assert named(zone(name="S1", side=ZoneSide.LEFT)) == "S1 (foramen, left)"
    assert named(zone(name="", site=ZoneSite.CANAL, side=ZoneSide.MIDLINE)) == "Z1 (canal)"


def line(status, **fields):
    kind = fields.pop("kind", ZoneKind.KEEP_OUT)
    given = {"distance_mm": None, "time_to_contact_s": None, "priority": AlertPriority.NONE, **fields}
    state = SiteState(zone_id="Z1", name="S1", site=ZoneSite.FORAMEN, side=ZoneSide.LEFT, status=status, **given)
    return site_text(state, zone(name="S1 foramen left", kind=kind)).text


def test_lines():
    start = "S1 foramen left: "
    assert line(SiteStatus.CLEAR, distance_mm=8.4, clearance_left_mm=6.2) == start + "clear, 6 mm left"
    assert (
        line(SiteStatus.APPROACHING, distance_mm=3.14, time_to_contact_s=2.36, view_to_check="the lateral view")
        == start + "3.1 mm left, contact in 2.4 s or later; check the lateral view"
    )
    assert line(SiteStatus.APPROACHING, distance_mm=3.14) == start + "3.1 mm left"
    assert line(SiteStatus.CONTACT_POSSIBLE, distance_mm=-1.2) == start + "contact possible, overlaps by 1.2 mm"
    assert (
        line(SiteStatus.CONTACT_POSSIBLE, distance_mm=4.0, in_space=True)
        == start + "contact possible, 4.0 mm left in 3D"
    )
    assert line(SiteStatus.CONTACT, distance_mm=-0.7) == start + "cement is 0.7 mm in it"
    assert line(SiteStatus.CONTACT) == start + "cement has reached it"
    assert line(None, reason="no geometry") == start + "no geometry"
    assert line(SiteStatus.CONTACT, kind=ZoneKind.TARGET) == start + "target, reached"
    assert line(SiteStatus.CLEAR, distance_mm=4.4, kind=ZoneKind.TARGET) == start + "target, 4 mm to go"
