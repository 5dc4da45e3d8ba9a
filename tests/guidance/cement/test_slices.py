"""CT slices while cement flows: what they show, where it is, and what they do to a volume."""

import numpy as np
import pytest

from guidance.cement.cannula import Cannula
from guidance.cement.fusion import BodyEstimator
from guidance.cement.slices import CementSlice, Slices
from guidance.cement.space import cement_space, opened
from guidance.cement.zone_fields import zone_fields
from guidance.config import CementSettings
from guidance.errors import GeometryError
from guidance.overlay.zones import ZonesOnPicture
from guidance.planning.surface import surface_of_shape
from tests.helpers.cement_bodies import STEP_MM, camera, lump, ray_lengths, seen
from tests.helpers.cement_views import zone

SECOND = 1_000_000_000
MARROW_HU, CEMENT_HU = 230.0, 2600.0
THICKNESS_MM = 4.0


def marrow_space(noise_hu=0.0):
    """A block of marrow with a cortex around it, in muscle."""
    hu = np.full((80, 80, 80), 50.0)
    hu[10:70, 10:70, 10:70] = 1200.0
    hu[12:68, 12:68, 12:68] = MARROW_HU
    hu += np.random.default_rng(0).normal(0.0, noise_hu, hu.shape) if noise_hu else 0.0
    affine = np.eye(4)
    affine[:3, 3] = -39.5
    return cement_space(hu.astype(np.int16), affine)


def slice_through(body, z_mm, *, at_s=0.0, thickness_mm=THICKNESS_MM, spacing_mm=0.7, extra=None, share=0.85):
    """An axial slice: mean over its thickness of marrow with cement in it."""
    count = 100
    first = -0.5 * spacing_mm * (count - 1)
    k = np.abs(np.arange(body.share.shape[0]) * STEP_MM + body.first_lps_mm[2] - z_mm) <= 0.5 * thickness_mm
    slab = body.share[k].sum(axis=0) * STEP_MM / thickness_mm
    pixels = np.full((count, count), MARROW_HU)
    places = [
        np.rint((first + spacing_mm * np.arange(count) - body.first_lps_mm[axis]) / STEP_MM).astype(int)
        for axis in (1, 0)
    ]
    on = [(one >= 0) & (one < slab.shape[axis]) for axis, one in enumerate(places)]
    picked = slab[np.ix_(places[0][on[0]], places[1][on[1]])]
    pixels[np.ix_(on[0], on[1])] += picked / share * (CEMENT_HU - MARROW_HU)
    if extra is not None:
        pixels[extra] = 3000.0
    affine = np.diag([spacing_mm, spacing_mm, thickness_mm, 1.0])
    affine[:3, 3] = (first, first, z_mm)
    return CementSlice(
        pixels_hu=pixels, affine_lps_from_ijk=affine, thickness_mm=thickness_mm, received_ns=round(at_s * SECOND)
    )


def slab_ml(body, z_mm, thickness_mm=THICKNESS_MM):
    k = np.abs(np.arange(body.share.shape[0]) * STEP_MM + body.first_lps_mm[2] - z_mm) <= 0.5 * thickness_mm
    return float(body.share[k].sum()) * STEP_MM**3 / 1000.0


@pytest.mark.parametrize("noise_hu", [0.0, 40.0])
def test_a_slice_tells_the_cement_in_it(noise_hu):
    body = lump(3, radius_mm=9.0)
    told = Slices(opened(marrow_space(noise_hu))).add(slice_through(body, 1.0))
    assert told == pytest.approx(slab_ml(body, 1.0), rel=0.15)


def test_what_was_there_before_is_no_cement():
    hu = np.full((60, 60, 60), MARROW_HU)
    hu[:, 30:36, 20:40] = 3000.0  # a screw, or old cement
    affine = np.eye(4)
    affine[:3, 3] = -29.5
    space = opened(cement_space(hu.astype(np.int16), affine))
    plane = np.eye(4)
    plane[:3, 3] = (-29.5, -29.5, 0.0)
    one = CementSlice(pixels_hu=hu[30], affine_lps_from_ijk=plane, thickness_mm=1.0, received_ns=0)
    assert Slices(space).add(one) == 0.0


def test_steel_of_a_cannula_is_no_cement():
    body = lump(3, radius_mm=1.0)
    steel = (slice(70, 95), slice(48, 53))
    space = opened(marrow_space())
    cannula = Cannula(np.array([0.0, 40.0, 0.0]), np.array([0.0, 10.0, 0.0]), 2.5)
    with_steel = slice_through(body, 0.0, extra=steel)
    blamed, spared = Slices(space).add(with_steel), Slices(space).add(with_steel, (cannula,))
    assert spared < 0.2 * blamed


def views(estimator, body, gain, *, sigma=0.2):
    for primary, device in ((180.0, "A"), (90.0, "B")):
        matrix = camera(primary).pixel_from_patient
        estimator.add(seen(ray_lengths((body,), matrix), matrix, device=device, noise_mm=0.1, gain=gain, sigma=sigma))


def test_a_slice_draws_a_wrong_volume_towards_the_truth_and_narrows_it():
    body = lump(3, radius_mm=9.0)
    without, with_slice = (BodyEstimator(marrow_space(), (), CementSettings()) for _ in range(2))
    for one in (without, with_slice):
        views(one, body, 0.7, sigma=0.3)
    with_slice.slice_added(slice_through(body, 0.0))
    before, after = without.body(0), with_slice.body(0)
    assert abs(after.volume_ml - body.volume_ml) < 0.75 * abs(before.volume_ml - body.volume_ml)
    assert after.volume_high_ml / after.volume_low_ml < before.volume_high_ml / before.volume_low_ml
    assert after.volume_low_ml < body.volume_ml < after.volume_high_ml


def test_an_old_slice_says_nothing_of_the_volume_now():
    body = lump(3, radius_mm=9.0)
    found = BodyEstimator(marrow_space(), (), CementSettings())
    views(found, body, 0.7)
    plain = found.body(60 * SECOND).volume_ml
    found.slice_added(slice_through(body, 0.0, at_s=0.0))
    assert found.body(60 * SECOND).volume_ml == pytest.approx(plain, rel=0.02)


def test_a_slice_tells_where_cement_is_that_two_shadows_leave_open():
    """Two lumps in one axial plane have four crossings: the slice says which two are cement."""
    bodies = tuple(
        lump(n, radius_mm=4.0, rough=0.0, center_lps_mm=at)
        for n, at in ((0, (-12.0, -12.0, 0.0)), (1, (12.0, 12.0, 0.0)))
    )
    found = BodyEstimator(marrow_space(), (), CementSettings())
    for primary, device in ((180.0, "A"), (90.0, "B")):
        matrix = camera(primary).pixel_from_patient
        found.add(seen(ray_lengths(bodies, matrix), matrix, device=device, noise_mm=0.05))
    one, other = (slice_through(body, 0.0) for body in bodies)
    both = CementSlice(
        pixels_hu=np.maximum(one.pixels_hu, other.pixels_hu),
        affine_lps_from_ijk=one.affine_lps_from_ijk,
        thickness_mm=8.0,
        received_ns=0,
    )

    def ghost_ml():
        told = found.body(0)
        kji = np.argwhere(told.occupancy > 0.0)
        points = kji[:, ::-1] + told.affine_lps_from_ijk[:3, 3]
        ghosts = [np.linalg.norm(points - at, axis=1) < 6.0 for at in ((-12.0, 12.0, 0.0), (12.0, -12.0, 0.0))]
        return float(told.occupancy[tuple(kji[ghosts[0] | ghosts[1]].T)].sum()) / 1000.0

    open_ml = ghost_ml()
    found.slice_added(both)
    assert ghost_ml() < 0.4 * open_ml


@pytest.mark.parametrize(
    "change",
    [
        {"affine_lps_from_ijk": np.zeros((4, 4))},
        {"affine_lps_from_ijk": np.full((4, 4), np.nan)},
        {"affine_lps_from_ijk": np.eye(3)},
        {"thickness_mm": 0.0},
        {"thickness_mm": float("inf")},
        {"pixels_hu": np.zeros((2, 2, 2))},
        {"pixels_hu": np.zeros((0, 4))},
    ],
)
def test_what_is_no_slice_is_refused(change):
    fields = {
        "pixels_hu": np.zeros((8, 8)),
        "affine_lps_from_ijk": np.eye(4),
        "thickness_mm": 1.0,
        "received_ns": 0,
    }
    with pytest.raises(GeometryError) as caught:
        Slices(None).add(CementSlice(**(fields | change)))
    assert caught.value.code == "bad_slice"


def test_pixels_that_are_no_numbers_are_air():
    one = CementSlice(pixels_hu=np.full((9, 9), np.nan), affine_lps_from_ijk=np.eye(4), thickness_mm=1.0, received_ns=0)
    assert Slices(None).add(one) == 0.0


def one_view(found, body, gain, *, at_s=0.0, sequence=1, sigma=0.3):
    matrix = camera(180.0).pixel_from_patient
    shown = ray_lengths((body,), matrix)
    found.add(
        seen(shown, matrix, noise_mm=0.05, gain=gain, sigma=sigma, sequence=sequence, received_ns=round(at_s * SECOND))
    )


@pytest.mark.parametrize("gain", [0.7, 1.0, 1.4])
def test_a_slice_beside_one_view_narrows_its_interval_around_the_truth(gain):
    body = lump(3, radius_mm=9.0)
    found = BodyEstimator(marrow_space(), (), CementSettings())
    one_view(found, body, gain)
    before = found.body(0)
    for z_mm in (-4.0, 0.0, 4.0):
        found.slice_added(slice_through(body, z_mm))
    after = found.body(0)
    assert after.volume_ml is None  # one view is still one view
    assert after.volume_high_ml / after.volume_low_ml < 0.7 * before.volume_high_ml / before.volume_low_ml
    assert after.volume_low_ml < body.volume_ml < after.volume_high_ml


def test_what_slices_said_of_a_view_holds_when_they_are_old_and_the_cement_has_grown():
    body, grown = lump(3, radius_mm=8.0), lump(3, radius_mm=10.0)
    found = BodyEstimator(marrow_space(), (), CementSettings())
    one_view(found, body, 0.6)
    found.slice_added(slice_through(body, 0.0))
    found.body(0)
    one_view(found, grown, 0.6, at_s=20.0, sequence=2)
    told = found.body(20 * SECOND)
    assert told.volume_low_ml < grown.volume_ml < told.volume_high_ml
    assert told.volume_high_ml / told.volume_low_ml < 2.2


def fields_at(*places):
    zones = tuple(zone(f"Z{n}", x_mm=x_mm) for n, x_mm in enumerate(places, 1))
    return zone_fields(ZonesOnPicture(surfaces=tuple((one, surface_of_shape(one.shape)) for one in zones)))


@pytest.mark.parametrize("seen_from", ["one view", "no view"])
def test_a_slice_that_shows_cement_in_a_zone_is_contact_and_says_nothing_of_the_others(seen_from):
    body = lump(3, radius_mm=9.0)
    found = BodyEstimator(marrow_space(), fields_at(6.0, 40.0), CementSettings())
    if seen_from == "one view":
        one_view(found, body, 1.0)
    assert not any(site.touches for site in found.body(0).sites)
    found.slice_added(slice_through(body, 0.0))
    near, far = found.body(0).sites
    assert near.touches
    assert near.distance_mm < -1.0
    assert near.inside_ml > 0.015
    assert (far.touches, far.distance_mm) == (False, None)
    assert far.reason
    found.slice_added(slice_through(lump(3, radius_mm=2.0, center_lps_mm=(-20.0, 0.0, 0.0)), 0.0, at_s=1.0))
    assert not any(site.touches for site in found.body(SECOND).sites)  # the same plane again: the newer counts
