"""Names on shadows, from any side, with beads missing, hidden, false; never on a picture of something else."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from guidance.calibration.detection import BeadShadow
from guidance.calibration.labelling import labelled, unflipped
from guidance.calibration.phantom import built_in_phantom, phantom_from_text
from guidance.calibration.view_camera import ViewCamera, shadows_of
from tests.guidance.calibration.test_phantom import text_of, two_plates

SIZE = (1024, 1024)
MIRROR = np.diag((-1.0, 1.0, 1.0))  # pictures are seen from the detector
GUESS = ViewCamera(
    focal_px=(3983.0, 3983.0),
    principal_px=(511.5, 511.5),
    rotation=np.eye(3),
    translation_mm=np.array((0.0, 0.0, 750.0)),
)
HELIX = built_in_phantom()
PLATES = phantom_from_text(text_of(*two_plates()))


def seen_by(rng, *, focal=1.0) -> ViewCamera:
    """A camera anywhere about the phantom, off the guess by what a gantry is off."""
    return ViewCamera(
        focal_px=(3983.0 * focal * rng.uniform(0.99, 1.01),) * 2,
        principal_px=tuple(511.5 + rng.uniform(-40, 40, 2)),
        rotation=MIRROR @ Rotation.random(random_state=int(rng.integers(1 << 30))).as_matrix(),
        translation_mm=np.array((*rng.uniform(-12, 12, 2), rng.uniform(700, 800))),
    )


def shadows_from(phantom, camera, rng, *, missing=0, false=0) -> tuple[list[BeadShadow], list[int]]:
    """Shadows in random order with the bead that made each, -1 for a false one."""
    places = shadows_of(camera, phantom.points_mm, phantom.diameters_mm / 2)
    depth = camera.seen(phantom.points_mm)[:, 2]
    sizes = phantom.diameters_mm * camera.focal_px[0] / depth
    kept = rng.permutation(len(places))[missing:]
    rows = [(*places[n], sizes[n], int(n)) for n in kept]
    rows += [(*rng.uniform(50, 970, 2), rng.choice(sizes), -1) for _ in range(false)]
    rng.shuffle(rows)
    shadows = [
        BeadShadow(
            u=u + rng.normal(0, 0.05),
            v=v + rng.normal(0, 0.05),
            sigma_px=0.05,
            diameter_px=size * rng.uniform(0.95, 1.05),
            contrast=0.8 + 0.1 * rng.random(),
            crowded=False,
        )
        for u, v, size, _ in rows
        if 20 < u < 1003 and 20 < v < 1003
    ]
    return shadows, [int(n) for u, v, _, n in rows if 20 < u < 1003 and 20 < v < 1003]


@pytest.mark.parametrize("phantom", [HELIX, PLATES], ids=["helix", "plates"])
@pytest.mark.parametrize("seed", range(8))
def test_every_shadow_gets_its_own_name_from_any_side(phantom, seed):
    rng = np.random.default_rng(seed)
    camera = seen_by(rng)
    shadows, truth = shadows_from(phantom, camera, rng, missing=4, false=4)
    found = labelled(phantom, shadows, GUESS, SIZE)
    assert found is not None
    assert [truth[s] for s in found.shadows] == found.beads.tolist()
    assert len(found.beads) >= 0.9 * sum(n >= 0 for n in truth)


@pytest.mark.parametrize("seed", range(4))
def test_another_zoom_is_named_all_the_same(seed):
    rng = np.random.default_rng(seed)
    shadows, truth = shadows_from(HELIX, seen_by(rng, focal=0.78), rng)
    found = labelled(HELIX, shadows, GUESS, SIZE)
    assert found is not None
    assert [truth[s] for s in found.shadows] == found.beads.tolist()
    assert abs(found.camera.focal_px[0] / 3983.0 / 0.78 - 1) < 0.02


@pytest.mark.parametrize("seed", range(6))
def test_a_mirrored_picture_has_no_names_until_it_is_unflipped(seed):
    rng = np.random.default_rng(seed)
    shadows, truth = shadows_from(HELIX, seen_by(rng), rng)
    mirrored = unflipped(shadows, 1024)
    assert labelled(HELIX, mirrored, GUESS, SIZE) is None
    found = labelled(HELIX, unflipped(mirrored, 1024), GUESS, SIZE)
    assert found is not None
    assert [truth[s] for s in found.shadows] == found.beads.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_another_phantom_has_no_names(seed):
    rng = np.random.default_rng(seed)
    shadows, _ = shadows_from(PLATES, seen_by(rng), rng)
    assert labelled(HELIX, shadows, GUESS, SIZE) is None
    shadows, _ = shadows_from(HELIX, seen_by(rng), rng)
    assert labelled(PLATES, shadows, GUESS, SIZE) is None


@pytest.mark.parametrize("seed", range(4))
def test_scattered_shadows_have_no_names(seed):
    rng = np.random.default_rng(seed)
    shadows, _ = shadows_from(HELIX, seen_by(rng), rng, missing=48, false=50)
    assert labelled(HELIX, shadows, GUESS, SIZE) is None


def test_half_of_the_beads_and_as_many_false_ones():
    rng = np.random.default_rng(7)
    camera = seen_by(rng)
    shadows, truth = shadows_from(HELIX, camera, rng, missing=14, false=20)
    found = labelled(HELIX, shadows, GUESS, SIZE)
    assert found is not None
    assert [truth[s] for s in found.shadows] == found.beads.tolist()


def test_touching_shadows_are_named_but_not_measured_with():
    rng = np.random.default_rng(2)
    shadows, _ = shadows_from(HELIX, seen_by(rng), rng)
    touching = [
        BeadShadow(u=s.u, v=s.v, sigma_px=s.sigma_px, diameter_px=s.diameter_px, contrast=s.contrast, crowded=n < 3)
        for n, s in enumerate(shadows)
    ]
    found = labelled(HELIX, touching, GUESS, SIZE)
    assert found is not None
    assert not found.clear[np.isin(found.shadows, (0, 1, 2))].any()
    assert found.clear.sum() >= len(found.beads) - 9
