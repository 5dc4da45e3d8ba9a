"""Which shadow is which bead: found without the told angles, with beads missing, hidden, false or touching."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.calibration.detection import BeadShadow
from guidance.calibration.phantom import Indices, Phantom
from guidance.calibration.pose_guesses import poses_of_triples
from guidance.calibration.view_camera import ALL, POSE, ViewCamera, fitted, shadows_of
from guidance.messages import F64

_MOST_KEYS_SEEN: Final = 14
_TRIPLES_AT_ONCE: Final = 8
_MOST_TRIPLES: Final = 160
_TRIED: Final = 6  # guesses of one round that are followed up
_GUESS_PX: Final = 14.0  # a first guess with a told focal length and a middle for the principal point
_TOLERANCES_PX: Final = (14.0, 8.0, 4.0)
_LAST_PX: Final = 2.5
_SIZE_SLACK: Final = 0.35  # of the logarithm of a diameter
_ENOUGH: Final = 0.6  # of the beads in the picture, to be taken for the phantom
_CERTAIN: Final = 0.85  # to look no further
_FEWEST: Final = 10
_NEAREST_DEPTHS: Final = (0.4, 2.5)  # beside the told distance
_CLEAR_PX: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """A view's shadows with the beads' names on them.

    Attributes:
        camera: rough.
        beads, shadows: (M,) indices of pairs.
        expected: beads whose whole shadow falls into the picture.
        clear: (M,) bool, False for a shadow that another one touches: named, but not measured with.
    """

    camera: ViewCamera
    beads: Indices
    shadows: Indices
    expected: int
    clear: npt.NDArray[np.bool_]

    @property
    def share(self) -> float:
        """Of the expected beads, those found."""
        return len(self.beads) / max(self.expected, 1)


def labelled(
    phantom: Phantom,
    shadows: Sequence[BeadShadow],
    guess: ViewCamera,
    size: tuple[int, int],
    *,
    poses: Sequence[ViewCamera] = (),
) -> Labelled | None:
    """Find the one way in which the shadows are the phantom's.

    Poses are guessed from three of the key beads (the rarest size) and three shadows of that size, by the thousand;
    the best are followed up with all beads.

    Args:
        shadows: of one picture.
        guess: focal length, principal point and distance as told; its pose does not matter.
        size: (rows, columns).
        poses: cameras to be tried first, as another view of the same set makes them likely.

    Returns:
        None where no pose explains the picture.
    """
    if len(shadows) < _FEWEST:
        return None
    places = np.array([(one.u, one.v) for one in shadows])
    classes = _classes_of(phantom, np.array([one.diameter_px for one in shadows]), guess)
    best: Labelled | None = None
    for start in itertools.chain(poses, _guesses(phantom, places, classes, shadows, guess)):
        found = _followed(phantom, shadows, places, classes, start, size)
        if found is not None and (best is None or len(found.beads) > len(best.beads)):
            best = found
            if best.share >= _CERTAIN:
                break
    return best


def unflipped(shadows: Sequence[BeadShadow], columns: int) -> list[BeadShadow]:
    """The shadows of the picture mirrored left to right."""
    return [
        BeadShadow(
            u=columns - 1 - one.u,
            v=one.v,
            sigma_px=one.sigma_px,
            diameter_px=one.diameter_px,
            contrast=one.contrast,
            crowded=one.crowded,
        )
        for one in shadows
    ]


def _classes_of(phantom: Phantom, diameters_px: F64, guess: ViewCamera) -> Indices:
    """(N,) size class of each shadow: the classes' common scale that fits most of them; -1 for what fits none."""
    distinct = sorted({int(number) for number in phantom.size_class})
    sizes = np.array([phantom.diameters_mm[phantom.size_class == number].mean() for number in distinct])
    told = guess.focal_px[0] / float(guess.translation_mm[2])
    members = np.array([(phantom.size_class == number).sum() for number in distinct], np.float64)
    logs = np.log(diameters_px)
    best, least = np.zeros(len(logs), np.int64), math.inf
    for scale in np.geomspace(told / 1.8, told * 1.8, 61):
        away = np.abs(logs[:, None] - np.log(sizes * scale)[None, :])
        nearest = away.argmin(axis=1)
        shares = np.bincount(nearest, minlength=len(sizes)) / len(logs)
        # A scale at which the sizes fit, and stand in the proportion in which the phantom has them.
        cost = float(
            np.minimum(away.min(axis=1) / 0.15, 1.0).mean() + 0.5 * np.abs(shares - members / members.sum()).sum()
        )
        if cost < least:
            least = cost
            best = np.where(away.min(axis=1) <= _SIZE_SLACK, np.array(distinct)[nearest], -1)
    return best


def _guesses(
    phantom: Phantom, places: F64, classes: Indices, shadows: Sequence[BeadShadow], guess: ViewCamera
) -> Iterator[ViewCamera]:
    keys = np.array(phantom.keys)
    key_class = phantom.size_class[keys[0]]
    seen = [n for n in range(len(shadows)) if classes[n] == key_class]
    seen = sorted(seen, key=lambda n: -shadows[n].contrast)[:_MOST_KEYS_SEEN]
    if len(seen) < 3:
        return
    rays = (places - guess.principal_px) / guess.focal_px
    rays[:, 0] *= -1.0  # seen from the source, right-handed
    model = phantom.points_mm[keys]
    orders = np.array(list(itertools.permutations(range(len(keys)), 3)))
    triples = np.array(list(itertools.combinations(seen, 3)))
    # Wide triples hold a pose best; the order is that of the data alone.
    one, two = places[triples[:, 1]] - places[triples[:, 0]], places[triples[:, 2]] - places[triples[:, 0]]
    area = np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])
    triples = triples[np.argsort(-area, kind="stable")][:_MOST_TRIPLES]
    told_mm = float(guess.translation_mm[2])
    tolerance = _GUESS_PX / guess.focal_px[0]
    for first in range(0, len(triples), _TRIPLES_AT_ONCE):
        chosen = triples[first : first + _TRIPLES_AT_ONCE]
        models = np.tile(model[orders], (len(chosen), 1, 1))
        seen_rays = np.repeat(rays[chosen], len(orders), axis=0)
        rotations, translations = poses_of_triples(models, seen_rays)
        near = translations[:, 2]
        good = (near > _NEAREST_DEPTHS[0] * told_mm) & (near < _NEAREST_DEPTHS[1] * told_mm)
        rotations, translations = rotations[good], translations[good]
        if not len(rotations):
            continue
        at = np.einsum("hij,kj->hki", rotations, model) + translations[:, None]
        at = at[..., :2] / np.maximum(at[..., 2:], 1.0)
        away = np.linalg.norm(at[:, :, None] - rays[seen][None, None], axis=3).min(axis=2)
        hits = np.minimum(away / tolerance, 1.0).sum(axis=1)
        for n in np.argsort(hits, kind="stable")[:_TRIED]:
            mirror = np.diag((-1.0, 1.0, 1.0))
            yield ViewCamera(
                focal_px=guess.focal_px,
                principal_px=guess.principal_px,
                rotation=mirror @ rotations[n],
                translation_mm=mirror @ translations[n],
            )


def _followed(
    phantom: Phantom,
    shadows: Sequence[BeadShadow],
    places: F64,
    classes: Indices,
    camera: ViewCamera,
    size: tuple[int, int],
) -> Labelled | None:
    """A guess brought to where it explains all it can; None where that is too little."""
    radii = phantom.diameters_mm / 2.0
    sigma = np.full(len(phantom.points_mm), 1.0)
    for tolerance in _TOLERANCES_PX:
        at = shadows_of(camera, phantom.points_mm, radii)
        beads, seen = _pairs(at, places, phantom.size_class, classes, tolerance)
        if len(beads) < _FEWEST - 4:
            return None
        free = ALL if len(beads) >= _FEWEST and tolerance < _TOLERANCES_PX[0] else POSE
        camera, _ = fitted(camera, phantom.points_mm[beads], radii[beads], places[seen], sigma[beads], free)
    at = shadows_of(camera, phantom.points_mm, radii)
    beads, seen = _pairs(at, places, phantom.size_class, classes, _LAST_PX)
    rows, columns = size
    shadow_px = radii * camera.focal_px[0] / np.maximum(camera.seen(phantom.points_mm)[:, 2], 1.0)
    inside = ((at - shadow_px[:, None] > 0.0) & (at + shadow_px[:, None] < (columns - 1, rows - 1))).all(axis=1)
    expected = int(inside.sum())
    if len(beads) < max(_FEWEST, _ENOUGH * expected) or not np.isfinite(at).all():
        return None
    apart = np.linalg.norm(at[:, None] - at[None], axis=2) - shadow_px[:, None] - shadow_px[None]
    np.fill_diagonal(apart, np.inf)
    touched = apart.min(axis=1) < _CLEAR_PX
    clear = np.array([not touched[b] and not shadows[s].crowded for b, s in zip(beads, seen, strict=True)])
    return Labelled(camera=camera, beads=beads, shadows=seen, expected=expected, clear=clear)


def _pairs(
    at: F64, places: F64, bead_class: Indices, shadow_class: Indices, tolerance_px: float
) -> tuple[Indices, Indices]:
    """Beads and shadows that are each other's nearest of the same size, within the tolerance."""
    away = np.linalg.norm(at[:, None] - places[None], axis=2)
    away = np.where(np.isfinite(away) & (bead_class[:, None] == shadow_class[None]), away, np.inf)
    nearest_shadow, nearest_bead = away.argmin(axis=1), away.argmin(axis=0)
    beads = np.arange(len(at))
    good = (nearest_bead[nearest_shadow] == beads) & (away[beads, nearest_shadow] < tolerance_px)
    return beads[good], nearest_shadow[good]
