"""Beads found in pictures: to hundredths of a pixel, whatever the values mean, and nothing where there is nothing."""

import math

import numpy as np
import pytest

from guidance.calibration.bead_fit import fit_shadow
from guidance.calibration.detection import find_beads, sphere_offset_px
from guidance.calibration.phantom import built_in_phantom
from guidance.geometry.camera import project
from simulators.bead_phantom import phantom_picture, placed
from simulators.flexing_gantry import FlexingGantry

SIZES_PX = (16.0, 27.0)


@pytest.fixture(scope="module")
def taken():
    """A noisy picture of the phantom and where its beads' centres project."""
    gantry, laid = FlexingGantry(), placed(built_in_phantom())
    matrix = gantry.pixel_from_equipment(40.0, 20.0)
    picture = phantom_picture(laid, matrix, (1024, 1024), seed=5)
    return picture, project(laid.points_mm, matrix @ laid.equipment_from_phantom)[:, :2]


def off_px(beads, places) -> np.ndarray:
    found = np.array([(bead.u, bead.v) for bead in beads if not bead.crowded])
    return np.linalg.norm(found[:, None] - places[None], axis=2).min(axis=1)


def test_centres_are_found_to_hundredths_of_a_pixel(taken):
    picture, places = taken
    beads = find_beads(picture, diameter_range_px=SIZES_PX)
    assert len(beads) >= 46
    off = off_px(beads, places)
    assert math.sqrt(np.mean(off**2) / 2.0) < 0.02
    assert off.max() < 0.08
    sigma = np.median([bead.sigma_px for bead in beads])
    assert 0.5 < math.sqrt(np.mean(off**2) / 2.0) / sigma < 1.6  # what it says of itself is so


@pytest.mark.parametrize(
    ("convert", "intensity", "sign"),
    [
        pytest.param(lambda p: 65535 - p, "LIN", -1, id="inverted"),
        pytest.param(lambda p: np.log(np.maximum(p, 30.0)).astype(np.float32), "LOG", 1, id="log"),
        pytest.param(
            lambda p: (1000 * np.log(30000.0 / np.maximum(p, 30.0))).astype(np.int16), "LOG", -1, id="density"
        ),
        pytest.param(lambda p: (p >> 7).astype(np.uint8), "DISP", 1, id="eight-bit"),
        pytest.param(lambda p: (p.astype(np.int32) - 32768).astype(np.int16), "LIN", 1, id="signed"),
    ],
)
def test_whatever_the_values_mean(taken, convert, intensity, sign):
    picture, places = taken
    beads = find_beads(convert(picture), diameter_range_px=SIZES_PX, intensity=intensity, sign=sign)
    assert len(beads) >= 44
    off = off_px(beads, places)
    assert np.median(off) < 0.06


def test_the_masked_part_is_not_looked_at(taken):
    picture, _ = taken
    valid = np.zeros(picture.shape, bool)
    valid[:, :500] = True
    beads = find_beads(picture, diameter_range_px=SIZES_PX, valid=valid)
    assert 10 <= len(beads) <= 30
    assert max(bead.u for bead in beads) < 500


def test_what_is_not_a_number_is_not_looked_at(taken):
    picture, places = taken
    holes = picture.astype(np.float32)
    holes[100:140, 300:900] = np.nan
    beads = find_beads(holes, diameter_range_px=SIZES_PX)
    assert len(beads) >= 40
    assert np.median(off_px(beads, places)) < 0.03


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(np.full((64, 64), np.nan, np.float32), id="nan"),
        pytest.param(np.random.default_rng(0).normal(9000, 90, (512, 512)).astype(np.uint16), id="noise"),
        pytest.param(np.full((512, 512), 700, np.uint16), id="flat"),
        pytest.param(np.zeros((512, 512), np.uint8), id="black"),
        pytest.param(np.tile(np.linspace(100, 60000, 512), (512, 1)).astype(np.uint16), id="ramp"),
        pytest.param(
            np.where(np.arange(512) > 200, 20000, 4000).astype(np.uint16) * np.ones((512, 1), np.uint16), id="edge"
        ),
        pytest.param(np.full((20, 30), 700, np.uint16), id="tiny"),
    ],
)
def test_nothing_is_found_where_nothing_is(picture):
    assert find_beads(picture, diameter_range_px=SIZES_PX) == ()


@pytest.mark.parametrize("opacity", [0.3, 1.5, 6.0])
def test_a_known_shadow_is_fitted(opacity):
    v, u = (np.mgrid[0:360, 0:360] - 2.5) / 6.0  # six samples along each side of a pixel
    chord = np.sqrt(np.maximum(1 - ((u - 30.37) ** 2 + (v - 28.81) ** 2) / 9.0**2, 0.0))
    ground = 0.02 + 0.001 * (u - 30) - 0.0005 * (v - 30)
    picture = ground + (1 - ground) * 0.8 * (1 - np.exp(-opacity * chord))
    picture = picture.reshape(60, 6, 60, 6).mean(axis=(1, 3))
    fit = fit_shadow(picture.astype(np.float32), 29.0, 30.0, 8.0)
    assert math.hypot(fit.u - 30.37, fit.v - 28.81) < 0.01
    assert abs(fit.radius_px - 9.0) < 0.8  # an edge without a screen's blur is sharper than the model's


def test_the_cone_shifts_a_balls_shadow_as_closed_forms_say():
    """Outline: ellipse between tan(a - b) and tan(a + b); chord-weighted: by quadrature over the cone's section."""
    focal, radius, tangent = 4000.0, 4.0, 0.2
    centre = np.array((tangent, 0.0, 1.0)) * 600.0
    distance = float(np.linalg.norm(centre))
    angle, half = math.atan(tangent), math.asin(radius / distance)
    outline = focal * ((math.tan(angle + half) + math.tan(angle - half)) / 2.0 - tangent)
    step = 0.1
    x = np.arange(focal * math.tan(angle - half) - 1, focal * math.tan(angle + half) + 1, step)
    y = np.arange(-40.0, 40.0, step)
    rays = np.stack(np.meshgrid(x, y), axis=-1) / focal
    rays = np.concatenate((rays, np.ones((*rays.shape[:2], 1))), axis=-1)
    across = np.linalg.norm(np.cross(rays, centre), axis=-1) / np.linalg.norm(rays, axis=-1)
    chord = 2.0 * np.sqrt(np.maximum(radius**2 - across**2, 0.0))
    weighted = focal * (float((chord * rays[..., 0]).sum() / chord.sum()) - tangent)
    told = sphere_offset_px(
        np.array((1.0 / math.hypot(1.0, tangent),)), np.array(((tangent, 0.0),)), np.array((radius / distance,)), focal
    )
    assert weighted < told[0, 0] < outline
    np.testing.assert_allclose(weighted / outline, 0.8, atol=0.01)
    np.testing.assert_allclose(told[0, 0], 0.9 * outline, rtol=0.01)
    assert told[0, 1] == 0.0
