"""Which lattice holds a body, and that a larger body has a coarser one from then on."""

import numpy as np

from guidance.cement.body_lattice import BodyLattice
from guidance.cement.rays import BinnedView, binned
from tests.helpers.cement_bodies import camera, lump, ray_lengths, seen


def views_of(radius_mm: float, *, aside_mm: float = 0.0) -> list[BinnedView]:
    body, found = lump(1, radius_mm=radius_mm, rough=0.0), []
    for number, angles in enumerate(((180.0, 0.0), (90.0, 0.0))):
        matrix = camera(*angles).pixel_from_patient
        shown = ray_lengths((body,), matrix)
        shown = np.roll(shown, round(aside_mm), axis=0) if number else shown
        view = seen(shown, matrix, device="AB"[number], received_ns=0, noise_mm=0.0, seed=0)
        bins = binned(view, matrix, spacing_mm=1.0, depth_mm=float(matrix[2, 3]))
        assert bins is not None
        found.append(bins)
    return found


def test_the_box_holds_the_body_and_little_else() -> None:
    lattice = BodyLattice(())
    box = lattice.box(views_of(10.0), (None, None))
    assert box is not None
    first_ijk, grid = box
    assert grid.spacing_mm == lattice.spacing_mm == 1.0
    last_ijk = first_ijk + np.array(grid.shape_kji[::-1]) - 1
    assert (first_ijk <= -10).all()
    assert (last_ijk >= 10).all()
    assert (last_ijk - first_ijk < 32).all()
    assert np.allclose(grid.origin_lps_mm, first_ijk * lattice.spacing_mm)


def test_what_an_older_view_shows_may_have_grown() -> None:
    views = views_of(10.0)
    now, older = (BodyLattice(()).box(views, ahead) for ahead in ((None, None), (4.0, None)))
    assert now is not None
    assert older is not None
    assert np.prod(older[1].shape_kji) > np.prod(now[1].shape_kji)


def test_a_large_body_makes_the_lattice_coarser_and_it_stays_so() -> None:
    lattice = BodyLattice(())
    fine = lattice.distances
    box = lattice.box(views_of(10.0), (12.0, 12.0))
    assert box is not None
    assert lattice.spacing_mm > 1.0
    assert np.prod(box[1].shape_kji) <= 250_000
    assert lattice.distances is not fine
    coarse_mm = lattice.spacing_mm
    assert lattice.box(views_of(10.0), (None, None)) is not None
    assert lattice.spacing_mm == coarse_mm


def test_views_that_show_different_places_have_no_box() -> None:
    assert BodyLattice(()).box(views_of(6.0, aside_mm=120.0), (None, None)) is None


def test_other_zones_keep_the_spacing() -> None:
    lattice = BodyLattice(())
    lattice.box(views_of(10.0), (12.0, 12.0))
    coarse_mm = lattice.spacing_mm
    lattice.set_fields(())
    assert lattice.spacing_mm == coarse_mm
