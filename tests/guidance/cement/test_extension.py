"""Thin and fast: veins are told, what grows as a whole, stands still or follows a path is not."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.cement.extension import leaves_along_path, thin_extensions
from guidance.messages import PlannedPath
from tests.helpers.cement_views import cement_view
from tests.helpers.drawn import view

SIZE = 512
MM = 0.375
MIDDLE = (SIZE - 1) / 2


def grown_view(
    *, ball_mm=10.0, ball_mm_s=0.2, vein_mm=15.0, vein_width_mm=3.0, vein_mm_s=15.0, turn_deg=20.0, **fields
):
    """A ball of cement that grows, and a straight branch that left it so long ago that it is as long as told now."""
    size, mm = fields.pop("size", SIZE), fields.pop("mm", MM)
    time_s = 30.0
    v, u = np.mgrid[:size, :size]
    u, v = (u - (size - 1) / 2) * mm, (v - (size - 1) / 2) * mm
    away = np.hypot(u, v)
    arrival = np.where(away <= ball_mm, time_s - (ball_mm - away) / ball_mm_s, np.nan)
    turn = np.deg2rad(turn_deg)
    along, beside = u * np.cos(turn) + v * np.sin(turn), -u * np.sin(turn) + v * np.cos(turn)
    branch = (np.abs(beside) <= vein_width_mm / 2) & (along > 0) & (along <= ball_mm + vein_mm) & (away > ball_mm)
    arrival[branch] = time_s - (ball_mm + vein_mm - along[branch]) / vein_mm_s
    mask = np.isfinite(arrival).astype(np.uint8)
    given = {
        "time_s": time_s,
        "arrival_s": arrival.astype(np.float32),
        "grown": (arrival > time_s - 0.7).astype(np.uint8),
        "mm_per_px": mm,
        "pixel_from_patient": view(size=size),
    }
    return cement_view(mask, **{**given, **fields})


def test_a_vein_that_fills_is_told():
    (vein,) = thin_extensions(grown_view())
    assert vein.length_px * MM == pytest.approx(15.0, abs=2.5)
    assert vein.width_px * MM == pytest.approx(3.0, abs=0.7)
    assert vein.speed_px_s * MM == pytest.approx(15.0, rel=0.25)
    assert vein.path_id == ""
    turn = np.deg2rad(20.0)
    tip = MIDDLE + np.array((np.cos(turn), np.sin(turn))) * 25.0 / MM
    np.testing.assert_allclose(vein.tip_px, tip, atol=6.0)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"vein_mm": 0.0}, id="no-branch"),
        pytest.param({"vein_width_mm": 9.0}, id="wide"),
        pytest.param({"vein_mm": 3.0}, id="short"),
        pytest.param({"vein_width_mm": 0.7}, id="an-edge"),
        pytest.param({"vein_mm_s": 0.8}, id="slow"),
        pytest.param({"ball_mm_s": 5.0, "vein_mm_s": 15.0}, id="all-of-it-is-fast"),
        pytest.param({"time_s": 60.0}, id="long-ago"),
        pytest.param({"grown": np.zeros((SIZE, SIZE), np.uint8)}, id="nothing-new"),
        pytest.param({"arrival_s": None}, id="no-times"),
        pytest.param({"seen": False}, id="not-seen"),
    ],
)
def test_what_is_no_vein(changes):
    assert thin_extensions(grown_view(**changes)) == ()


def test_what_is_left_to_see_beside_a_cannula_is_not_thin():
    v, u = np.mgrid[:SIZE, :SIZE]
    u, v = (u - MIDDLE) * MM, (v - MIDDLE) * MM
    # A lump of 20 mm by 8 mm, of which the cannula leaves 2.5 mm to be seen.
    arrival = np.where((np.abs(u) < 10.0) & (v > -2.5) & (v <= 0.0), 29.0 + (u + 10.0) / 25.0, np.nan)
    mask = np.isfinite(arrival).astype(np.uint8)
    blind = ((v > 0.0) & (v < 6.0)).astype(np.uint8)
    frame = grown_view(arrival_s=arrival.astype(np.float32), grown=mask)
    frame = replace(frame, mask=mask, front_px=())
    assert len(thin_extensions(frame)) == 1
    assert thin_extensions(replace(frame, blind=blind)) == ()


@pytest.mark.parametrize("turn_deg", [0.0, 45.0, 133.0, 250.0])
@pytest.mark.parametrize("mm", [0.2, 0.375, 0.7])
def test_directions_and_pixel_sizes_do_not_matter(turn_deg, mm):
    found = thin_extensions(grown_view(turn_deg=turn_deg, mm=mm, size=256 if mm > 0.5 else 512))
    assert len(found) == 1
    assert found[0].length_px * mm == pytest.approx(15.0, abs=2.5)


def test_without_geometry_widths_are_guessed_and_it_is_found_all_the_same():
    assert len(thin_extensions(grown_view(mm_per_px=None, pixel_from_patient=None))) == 1


def test_a_large_picture_is_looked_at_in_steps():
    (vein,) = thin_extensions(grown_view(size=1024, mm=0.19))
    assert vein.length_px * 0.19 == pytest.approx(15.0, abs=2.5)


def test_along_a_path_it_is_the_paths():
    # 20 deg downwards to the right: in the AP view v runs against the head.
    turn = np.deg2rad(20.0)
    entry = (60.0 * np.cos(turn), 0.0, -60.0 * np.sin(turn))
    path = PlannedPath(id="P2", entry_lps_mm=entry, target_lps_mm=(0, 0, 0), diameter_mm=3.0)
    aside = PlannedPath(id="P1", entry_lps_mm=(60.0, 0.0, 40.0), target_lps_mm=(0, 0, 0), diameter_mm=3.0)
    (found,) = thin_extensions(grown_view(), (aside, path))
    assert found.path_id == "P2"


def along(turn_deg, *, length_mm=40.0):
    """A path whose target is the middle."""
    turn = np.deg2rad(turn_deg)
    entry = (length_mm * np.cos(turn), 0.0, -length_mm * np.sin(turn))
    return PlannedPath(id="P1", entry_lps_mm=entry, target_lps_mm=(0.0, 0.0, 0.0), diameter_mm=3.0)


def test_cement_in_a_cannula_that_lies_off_its_plan_is_no_veins():
    seen = grown_view(vein_mm=40.0)
    (vein,) = thin_extensions(seen, (along(20.0 + 90.0),))
    assert vein.path_id == ""
    for off_deg in (0.0, 4.0, -4.0):
        (finger,) = thin_extensions(seen, (along(20.0 + off_deg),))
        assert finger.path_id == "P1"


def test_what_is_there_at_once_and_hangs_together_with_nothing_is_an_edge():
    def apart(vein_mm_s):
        seen = grown_view(vein_mm=30.0, vein_mm_s=vein_mm_s)
        v, u = np.mgrid[:SIZE, :SIZE]
        cut = (np.hypot(u - MIDDLE, v - MIDDLE) * MM > 10.0) & (np.hypot(u - MIDDLE, v - MIDDLE) * MM < 18.0)
        return replace(seen, mask=np.where(cut, 0, seen.mask).astype(np.uint8))

    assert len(thin_extensions(apart(15.0))) == 1
    assert thin_extensions(apart(60.0)) == ()


def test_what_leaves_the_picture_along_a_path():
    v, u = np.mgrid[:SIZE, :SIZE]
    up = ((np.abs(u - MIDDLE) * MM <= 2.0) & (v <= MIDDLE)).astype(np.uint8)
    aside = ((np.abs(v - MIDDLE) * MM <= 2.0) & (u >= MIDDLE)).astype(np.uint8)
    path = along(-90.0)
    seen = {"pixel_from_patient": view(size=SIZE), "out_of_picture": True}
    assert leaves_along_path(cement_view(up, **seen), (path,))
    assert not leaves_along_path(cement_view(up | aside, **seen), (path,))
    assert not leaves_along_path(cement_view(aside, **seen), (path,))
    assert not leaves_along_path(cement_view(up, **seen), ())
    assert not leaves_along_path(cement_view(up, **{**seen, "out_of_picture": False}), (path,))
