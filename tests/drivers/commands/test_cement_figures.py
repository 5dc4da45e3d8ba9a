"""Figures of cement's cases from rows that can be counted by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from drivers.commands.cement_figures import (
    AIMS,
    BINS,
    CaseRow,
    SiteScore,
    VolumeTold,
    counts_of,
    disturbance_groups,
    figures_of,
    groups_of,
    percentile_with_inf,
    site_groups,
)


def told(true_ml, told_ml=None, low_ml=None, high_ml=None, views=2):
    return VolumeTold(t_s=5.0, true_ml=true_ml, told_ml=told_ml, low_ml=low_ml, high_ml=high_ml, views=views)


def contact(site="foramen", warned_s=2.0, contact_s=4.0, distance_mm=3.0):
    return SiteScore(
        site=site, zone_id="Z1", contact_s=contact_s, amount_s=None, warned_s=warned_s, distance_mm=distance_mm
    )


ROW = CaseRow(
    name="one",
    seed=1,
    patient="block",
    leaks=("foramen",),
    dose=1.0,
    rate_hz=15.0,
    brand="b",
    views="biplane",
    disturbances=(),
    frames=100,
    duration_s=10.0,
    dice=(0.8, 0.9, 1.0),
    front_counts=tuple(counts_of(np.full(100, 0.52)).tolist()),
    volumes=(told(1.0, 1.1, 0.9, 1.3), told(2.0, 1.9, 1.95, 2.2), told(1.0, None, 0.5, 0.8, views=1)),
    sites=(contact(),),
    warnings=(("site", "Z1", "true"), ("site", "Z2", "false")),
    outside_frames=1.0,
    first_frames=0.0,
    unseen={"covered": 5},
    ms_per_frame=3.0,
)


def test_figures_of_one_case():
    figures = figures_of([ROW])
    assert figures["cases"] == 1
    assert figures["dice_median"] == pytest.approx(0.9)
    assert figures["front_error_median_mm"] == pytest.approx(0.525, abs=0.026)
    assert figures["volume_error_two_views_median"] == pytest.approx(0.075)
    assert figures["volume_error_two_views_worst"] == pytest.approx(0.1)
    assert figures["volume_interval_two_views"] == 1.0
    assert figures["volume_interval_one_view"] == 0.0
    assert figures["volume_error_one_view"] == pytest.approx(0.2)
    assert figures["volume_interval_one_view_width"] == pytest.approx(0.3)
    assert figures["foramen_sensitivity"] == 1.0
    assert figures["canal_sensitivity"] is None
    assert figures["false_warnings_per_case"] == 1.0
    assert figures["lead_median_s"] == 2.0
    assert figures["unseen_share"] == pytest.approx(0.05)
    assert set(AIMS) <= set(figures)


def test_what_was_missed_is_never_left_out():
    missed = replace(ROW, sites=(contact(warned_s=None), contact(warned_s=5.2), contact(warned_s=4.5)))
    figures = figures_of([missed])
    assert figures["foramen_sensitivity"] == pytest.approx(1 / 3)
    assert figures["lead_median_s"] == pytest.approx(-1.2)
    assert figures["lead_1s_or_2mm_share"] == 0.0
    never = replace(ROW, sites=(contact(warned_s=None), contact(warned_s=None), contact()), outside_frames=math.inf)
    assert figures_of([never])["lead_median_s"] is None
    assert figures_of([never])["frames_after_0_1_ml_outside"] is None
    assert figures_of([never])["warned_after_0_1_ml_outside_share"] == 0.0


def test_a_lead_is_a_second_or_two_millimetres():
    assert contact(warned_s=3.0, distance_mm=0.1).led
    assert contact(warned_s=3.8, distance_mm=2.5).led
    assert not contact(warned_s=3.8, distance_mm=1.5).led
    assert not contact(warned_s=4.1, distance_mm=0.0).led


def test_a_leak_that_no_zone_marks_has_no_lead_to_be_had():
    unmarked = replace(contact(warned_s=4.0, distance_mm=0.0), zone_id="")
    figures = figures_of([replace(ROW, sites=(contact(warned_s=3.0), unmarked))])
    assert figures["lead_1s_or_2mm_share"] == 0.5
    assert figures["lead_1s_or_2mm_share_of_zones"] == 1.0


def test_nothing_is_said_of_nothing():
    figures = figures_of([])
    assert figures["cases"] == 0
    assert figures["dice_median"] is None
    assert figures["false_warnings_per_case"] is None


def test_fronts_weigh_alike_and_far_ones_are_kept():
    counts = counts_of(np.array([0.0, 0.01, 0.06, 19.99, 500.0]))
    assert counts[0] == 2
    assert counts[1] == 1
    assert counts[BINS - 1] == 2
    assert counts.sum() == 5


def test_groups_by_dose_and_by_site():
    rows = [ROW, replace(ROW, dose=0.25, sites=(contact("vein", warned_s=None),))]
    assert [group["group"] for group in groups_of(rows, lambda row: row.dose)] == [0.25, 1.0]
    by_site = {group["group"]: group for group in site_groups(rows)}
    assert by_site["vein"]["sensitivity"] == 0.0
    assert by_site["vein"]["lead_median_s"] is None
    assert by_site["foramen"]["before_contact"] == 1.0


def test_a_case_is_in_the_group_of_each_thing_that_happens_in_it():
    moved = replace(ROW, disturbances=("hand", "patient moves"), dice=(0.5,))
    groups = {group["group"]: group for group in disturbance_groups([ROW, moved])}
    assert list(groups) == ["nothing", "hand", "patient moves"]
    assert groups["nothing"]["dice_median"] == pytest.approx(0.9)
    assert groups["hand"]["dice_median"] == groups["patient moves"]["dice_median"] == 0.5


def test_percentiles_with_what_never_came():
    assert percentile_with_inf([0.0, 1.0, 2.0, math.inf], 0.5) == 1.0
    assert percentile_with_inf([0.0, math.inf], 0.95) == math.inf
    assert percentile_with_inf([], 0.5) is None
