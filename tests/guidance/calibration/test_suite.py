"""Many views to one table: true between views, and whoever does not fit is named and left out."""

from dataclasses import replace

import numpy as np
import pytest

from drivers.commands.calibrate_simulated import grid_deg
from drivers.commands.calibration_cases import at_pose, measured_without_picture
from guidance.calibration.frame import disagreeing, phantom_pose
from guidance.calibration.phantom import built_in_phantom
from guidance.calibration.picture import LeftOut
from guidance.calibration.report import calibration_answer, perturbed, picture_sigma_mm
from guidance.calibration.suite import calibrated_suite
from guidance.errors import GeometryError
from guidance.geometry.camera import project
from simulators.bead_phantom import placed
from simulators.flexing_gantry import FlexingGantry

PHANTOM = built_in_phantom()
GANTRY = FlexingGantry(seed=4)
LAID = placed(PHANTOM, seed=4)
POSES = grid_deg(12.0, 36.0, 12.0)


def measured(poses=POSES, gantry=GANTRY, laid=LAID, seed=1):
    return measured_without_picture(PHANTOM, gantry, laid, poses, noise_px=0.013, rng=np.random.default_rng(seed))


@pytest.fixture(scope="module")
def views():
    return measured()


@pytest.fixture(scope="module")
def done(views):
    held = [view.told.name for view in views][4::6]
    return calibrated_suite(PHANTOM, views, hold_out=held, equipment_from_phantom=LAID.equipment_from_phantom)


def test_the_table_is_true_between_its_views(done):
    off = [at_pose(done, GANTRY, p, s, approach=3)[0] for p, s in ((-29, -7), (-3, 5), (17, -10), (33, 11), (7, 2))]
    assert np.max(off) < 0.12


def test_held_out_views_are_seen_by_no_fit_and_told_by_method(done, views):
    answer = calibration_answer(PHANTOM, done)
    names = {view.name for view in answer.views}
    assert len(answer.held_out) == 3
    assert names.isdisjoint(view.name for view in answer.held_out)
    assert answer.held_out_interpolated.rms_mm < 0.1
    assert answer.held_out_interpolated.rms_mm < 0.5 * answer.held_out_nearest_view.rms_mm
    assert answer.held_out_nearest_view.rms_mm < 0.5 * answer.held_out_classic_xa.rms_mm
    # The detector stands 2.9 mm off centre, 1.85 mm at the isocentre: classic XA cannot know.
    assert 0.8 < answer.held_out_classic_xa.rms_mm < 5.0
    without = calibrated_suite(
        PHANTOM,
        [view for view in views if view.told.name in names],
        equipment_from_phantom=LAID.equipment_from_phantom,
    )
    for one, other in zip(done.table.views, without.table.views, strict=True):
        np.testing.assert_array_equal(one.pixel_from_equipment, other.pixel_from_equipment)


def test_figures_of_the_answer(done):
    answer = calibration_answer(PHANTOM, done)
    assert answer.rms_px < 0.02
    assert answer.left_out == ()
    worst = max(answer.views, key=lambda view: view.worst_bead.residual_px)
    assert answer.worst_bead == worst.worst_bead
    assert answer.worst_bead.view == worst.name
    assert answer.worst_bead.bead in PHANTOM.names
    assert answer.beads_moved_mm == pytest.approx(0.02, rel=0.4)
    for view in answer.views:
        assert view.focal_px[0] == pytest.approx(1195.0 / 0.3, rel=0.01)
        assert 0.0 < view.sigma_mm < 0.02
        assert view.left_out_mm < 0.3


def test_the_isocentre_the_views_agree_on_is_near_the_rooms(views):
    pose = phantom_pose([view.told for view in views], [view.camera for view in views])
    assert pose.found_from == "views"
    true = LAID.equipment_from_phantom
    np.testing.assert_allclose(pose.equipment_from_phantom[:3, :3], true[:3, :3], atol=0.03)
    # Sag and an off-centre detector are in every view, so no view can tell them from another isocentre.
    assert np.linalg.norm(pose.equipment_from_phantom[:3, 3] - true[:3, 3]) < 6.0


def test_a_rigid_gantry_without_sag_gives_the_room():
    gantry = FlexingGantry(sag_mm=0.0, wobble_mm=0.0, detector_shift_mm=(0.0, 0.0), detector_tilt_deg=(0, 0, 0))
    views = measured(gantry=gantry)
    pose = phantom_pose([view.told for view in views], [view.camera for view in views])
    np.testing.assert_allclose(pose.equipment_from_phantom[:3, :3], LAID.equipment_from_phantom[:3, :3], atol=1e-3)
    # Each view alone knows its depth to half a millimetre.
    np.testing.assert_allclose(pose.equipment_from_phantom[:3, 3], LAID.equipment_from_phantom[:3, 3], atol=0.3)
    assert pose.isocenter_spread_mm < 0.1


def named(left_out) -> dict[str, str]:
    return {one.name: one.code for one in left_out}


def retold(view, **told):
    return replace(view, told=replace(view.told, **told))


def test_bad_views_are_named_and_leave_the_others_alone(views):
    bad = list(views)
    bad[2] = retold(views[2], secondary_deg=-views[2].told.secondary_deg)
    bad[7] = replace(views[7], told=replace(views[12].told, name=views[7].told.name))
    bad[12] = replace(views[12], told=replace(views[7].told, name=views[12].told.name))
    bad[15] = retold(views[15], primary_deg=views[15].told.primary_deg + 9.0)
    bad[18] = retold(views[18], columns=1000)
    bad.append(LeftOut(name="blank", code="too_few_beads", reason="0 round shadows are seen", mend=""))
    found = calibrated_suite(PHANTOM, bad, equipment_from_phantom=LAID.equipment_from_phantom)
    names = [view.told.name for view in bad[:-1]]
    assert named(found.left_out) == {
        names[2]: "angle_sign",
        names[7]: "views_exchanged",
        names[12]: "views_exchanged",
        names[15]: "angles_disagree",
        names[18]: "another_kind",
        "blank": "too_few_beads",
    }
    exchanged = next(one for one in found.left_out if one.name == names[7])
    assert names[12] in exchanged.reason
    assert names[12] in exchanged.mend
    assert "secondary" in next(one.reason for one in found.left_out if one.name == names[2])
    good = [view for view in views if view.told.name not in named(found.left_out)]
    alone = calibrated_suite(PHANTOM, good, equipment_from_phantom=LAID.equipment_from_phantom)
    for one, other in zip(found.table.views, alone.table.views, strict=True):
        np.testing.assert_array_equal(one.pixel_from_equipment, other.pixel_from_equipment)


def test_a_view_after_the_phantom_was_pushed_is_named(views):
    pushed = replace(LAID, equipment_from_phantom=LAID.equipment_from_phantom + np.eye(4)[:, 3:] * 0)
    pushed.equipment_from_phantom[:3, 3] += (4.0, 0.0, 3.0)
    one = measured(poses=[POSES[10]], laid=pushed)[0]
    bad = [*views[:10], one, *views[11:]]
    found = calibrated_suite(PHANTOM, bad, equipment_from_phantom=LAID.equipment_from_phantom)
    assert named(found.left_out) == {one.told.name: "departs_from_others"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda p, s: (-p, s), "primary angle's sign"),
        (lambda p, s: (p, -s), "secondary angle's sign"),
        (lambda p, s: (s, p), "exchanged"),
        (lambda p, s: (p, s, 90.0), "turned by 270 deg"),
    ],
)
def test_angles_told_wrongly_in_all_views_are_refused_with_the_mistake(views, wrong, words):
    bad = []
    for view in views:
        primary, secondary, *rotation = wrong(view.told.primary_deg, view.told.secondary_deg)
        bad.append(retold(view, primary_deg=primary, secondary_deg=secondary, detector_rotation_deg=sum(rotation)))
    with pytest.raises(GeometryError) as refusal:
        disagreeing([view.told for view in bad], [view.camera for view in bad])
    assert refusal.value.code == "angles_contradictory"
    assert words in str(refusal.value)


ELSEWHERE = LAID.equipment_from_phantom.copy()
ELSEWHERE[1, 3] += 25.0


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(np.linalg.inv(LAID.equipment_from_phantom), id="inverse"),
        pytest.param(np.diag((-1.0, -1.0, 1.0, 1.0)) @ LAID.equipment_from_phantom, id="half-a-turn"),
        pytest.param(ELSEWHERE, id="elsewhere"),
    ],
)
def test_a_told_pose_that_the_views_contradict_is_refused(views, wrong):
    with pytest.raises(GeometryError) as refusal:
        calibrated_suite(PHANTOM, views, equipment_from_phantom=wrong)
    assert refusal.value.code == "pose_disagrees"


def test_no_view_is_an_error_that_says_why():
    blank = LeftOut(name="a", code="mirrored_picture", reason="the phantom is seen mirrored", mend="send it unflipped")
    with pytest.raises(GeometryError) as refusal:
        calibrated_suite(PHANTOM, [blank])
    assert refusal.value.code == "no_usable_view"
    assert "a: the phantom is seen mirrored (send it unflipped)" in str(refusal.value)


def test_a_lone_view_is_a_table_with_a_warning(views):
    found = calibrated_suite(PHANTOM, views[8:9], equipment_from_phantom=LAID.equipment_from_phantom)
    answer = calibration_answer(PHANTOM, found)
    assert answer.views[0].left_out_mm is None
    assert "1 views say little" in answer.warnings[0]


def test_the_covariance_counts_what_perturbed_moves(done):
    """A step of each of the nine numbers moves points as the covariance's definition says; Monte Carlo of the sigma."""
    view = done.table.views[5]
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(9), view.covariance, 4000)
    points = np.zeros((1, 3))
    moved = [project(points, perturbed(view.pixel_from_equipment, draw))[0, :2] for draw in draws]
    to_mm = 750.0 / 3983.0
    told = picture_sigma_mm(view)
    assert np.sqrt(np.mean(np.var(moved, axis=0))) * to_mm == pytest.approx(told, rel=0.05)
