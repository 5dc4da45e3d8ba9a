"""Along which direction a foramen is looked through, and what that rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.messages import F64, MaskShape, PrismShape, SphereShape, TubeShape, Zone
from guidance.planning.distance import DistanceField

_SAMPLES: Final = 24  # points along the longest side of a mask's box
_APART: Final = 1.3  # of two principal axes' lengths: closer ones cannot be told from each other
_LEAST_CURVED: Final = 0.9  # end-to-end over length: below it a tube has no one direction


@dataclass(frozen=True, slots=True, eq=False)
class ChannelAxis:
    """A zone's channel.

    Attributes:
        center_lps_mm: (3,) a point on it.
        direction: (3,) unit vector, its sign means nothing; None where the shape does not say.
        rests_on: words: what the direction was taken from, or why there is none.
    """

    center_lps_mm: F64
    direction: F64 | None
    rests_on: str


def channel_axis(zone: Zone, field: DistanceField) -> ChannelAxis:
    """The channel of a foramen.

    A tube: its own axis. A prism: the direction it is extruded in. A mask: a principal axis: for a sacral level the
    one nearest to front-back, for a lumbar or thoracic one nearest to left-right (as the channels run); without a
    level the shortest, since a foramen's rim is wider than the channel is long. A ball has none.
    """
    shape = zone.shape
    if isinstance(shape, TubeShape):
        return _tube_axis(shape)
    if isinstance(shape, PrismShape):
        polygon = np.array(shape.polygon_lps_mm)
        normal = np.cross(polygon - polygon[0], np.roll(polygon, -1, axis=0) - polygon[0]).sum(axis=0)
        normal /= np.linalg.norm(normal)
        center = polygon.mean(axis=0) + normal * shape.height_mm / 2
        return ChannelAxis(center, normal, "the direction its outline is extruded in")
    if isinstance(shape, SphereShape):
        return ChannelAxis(np.array(shape.center_lps_mm), None, "a ball has no axis: draw the foramen as a tube")
    assert isinstance(shape, MaskShape)
    return _mask_axis(zone, field)


def _tube_axis(shape: TubeShape) -> ChannelAxis:
    points = np.array(shape.points_lps_mm)
    steps = np.diff(points, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    total = float(lengths.sum())
    if total <= 0.0:
        return ChannelAxis(points[0], None, "a tube through one point has no axis")
    middles = (points[1:] + points[:-1]) / 2
    center = (middles * lengths[:, None]).sum(axis=0) / total
    chord = points[-1] - points[0]
    straight = float(np.linalg.norm(chord))
    if straight < _LEAST_CURVED * total:
        return ChannelAxis(center, None, "its tube is bent: no one direction looks through it")
    return ChannelAxis(center, chord / straight, "its tube's axis")


def _mask_axis(zone: Zone, field: DistanceField) -> ChannelAxis:
    low, high = field.bounds_lps_mm
    step = float((high - low).max()) / _SAMPLES
    sides = [np.arange(first + step / 2, last, step) for first, last in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = grid[field.distance_mm(np.ascontiguousarray(grid)) < 0.0]
    center = (low + high) / 2
    if len(inside) < 8:
        return ChannelAxis(center, None, "its mask is too small to have an axis")
    center = inside.mean(axis=0)
    squares, vectors = np.linalg.eigh(np.cov((inside - center).T))
    lengths = np.sqrt(np.maximum(squares, 1e-12))
    chosen, rests_on = _chosen(zone.level, vectors)
    others = [float(lengths[chosen] / lengths[n]) for n in range(3) if n != chosen]
    if any(1 / _APART < ratio < _APART for ratio in others):
        return ChannelAxis(center, None, "its mask is too round to tell the channel's direction from its shape")
    return ChannelAxis(center, vectors[:, chosen], rests_on)


def _chosen(level: str, vectors: F64) -> tuple[int, str]:
    """Which principal axis (ascending lengths) is the channel, and why."""
    region = level.strip().upper()[:1]
    if region == "S":
        return int(np.argmax(np.abs(vectors[1]))), "its mask's principal axis nearest to front-back (sacral level)"
    if region in ("L", "T", "C"):
        return int(np.argmax(np.abs(vectors[0]))), "its mask's principal axis nearest to left-right (lumbar level)"
    return 0, "its mask's shortest principal axis (no level told)"
