"""A picture straightened along a curve and its profiles across: what the rods' native kernel computes, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from guidance.kernels.reference import F32
from guidance.kernels.ridge import sample_strip
from guidance.kernels.rod_values import Bools, Curve, MetalMask, PictureReading, RodStrip
from guidance.messages import F64, Pixels

# All lengths across are in widths of the rod's shadow.
HALF: Final = 1.5
COLUMNS: Final = 49
MIDDLE: Final = COLUMNS // 2
OFFSETS: Final[F64] = np.asarray(np.linspace(-HALF, HALF, COLUMNS), np.float64)
SHIFTS: Final[F64] = np.asarray(np.arange(-10, 11) / 20.0, np.float64)
BLOCK: Final = 6  # rows averaged before a profile is looked at
_CORE: Final = np.abs(OFFSETS) <= 0.35
_MIDDLE: Final = np.abs(OFFSETS) <= 0.16
_FLANKS: Final = (np.abs(OFFSETS) >= 0.62) & (np.abs(OFFSETS) <= 0.9)
_WINDOW: Final = 1.0  # half of what is compared with a rod
_BLUR_PX: Final = 0.7  # standard deviation of the detector's and the focal spot's spread
_BLURS: Final = (0.02, 0.16)  # widths: of a rod narrower than that nothing of its shape is left
_BORE: Final = 0.6  # a thin cannula's inner over outer cross section
_ROWS_PER_WIDTH: Final = 12.0
_LEAST_PITCH_PX: Final = 1.25
_MOST_SATURATED: Final = 0.2  # of a row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Straightened:
    """The picture along a curve.

    Attributes:
        values: (T, COLUMNS), more where more lies in the beam.
        x_px: (T,) of the rows in the strip.
        pitch_px: from row to row.
        width_px: that an offset of 1 stands for, at the middle.
        inside: (T,) whether the whole row is in the picture.
        known: (T,) that, its middle off known metal, and not saturated.
        clean: (T,) known, and no known metal beside the middle either.
    """

    values: F32
    x_px: F64
    pitch_px: float
    width_px: float
    inside: Bools
    known: Bools
    clean: Bools

    @property
    def blur(self) -> float:
        """Standard deviation of the picture's spread, in widths."""
        return min(max(_BLUR_PX / self.width_px, _BLURS[0]), _BLURS[1])


def straightened(
    pixels: Pixels,
    reading: PictureReading,
    saturated: float | None,
    strip: RodStrip,
    curve: Curve,
    span_px: tuple[float, float],
    metal: MetalMask | None,
    *,
    coarse: bool = False,
) -> Straightened:
    """Sample the picture across a curve.

    Args:
        saturated: sampled values up to it mean as much X-ray as the picture can show; None where nothing does.
        span_px: first and last x.
        coarse: half as many rows.
    """
    width = float(strip.width_at(np.array([0.5 * (span_px[0] + span_px[1])]))[0])
    pitch = max(_LEAST_PITCH_PX, width / _ROWS_PER_WIDTH) * (2.0 if coarse else 1.0)
    x: F64 = np.arange(span_px[0], span_px[1], pitch)
    slope = curve.slope(x)
    along = np.array(strip.along)
    across = np.array((-along[1], along[0])) - slope[:, None] * along
    across /= np.sqrt(1.0 + slope * slope)[:, None]
    widths = strip.width_at(np.clip(x, 0.0, strip.length_px))[:, None]
    middles = strip.points(x, curve.y(x))
    steps = across * (widths * float(OFFSETS[1] - OFFSETS[0]))
    starts = middles - across * (HALF * widths)
    values = sample_strip(
        pixels,
        starts,
        steps,
        COLUMNS,
        bounds=reading.bounds,
        logarithm=reading.logarithm,
        sign=reading.sign,
        backend="reference",
    )
    inside = np.asarray(np.isfinite(values.sum(axis=1)))
    known, beside = inside.copy(), np.zeros(len(x), bool)
    if metal is not None:
        known &= ~metal.covers(middles)
        beside |= metal.covers(middles - across * widths) | metal.covers(middles + across * widths)
    if saturated is not None:
        known &= (values <= saturated).mean(axis=1) < _MOST_SATURATED
    return Straightened(
        values=values, x_px=x, pitch_px=pitch, width_px=width, inside=inside, known=known, clean=known & ~beside
    )


def contrast_of(flat: Straightened, *, narrow: bool = False) -> F64:
    """(T,) what each row's core, or its very middle, has more than its flanks; NaN where not known."""
    part = _MIDDLE if narrow else _CORE
    core = flat.values @ (part / np.float32(part.sum())).astype(np.float32)
    beside = flat.values @ (_FLANKS / np.float32(_FLANKS.sum())).astype(np.float32)
    return np.where(flat.known, core - beside, np.nan).astype(np.float64)


def block_profiles(flat: Straightened, begin: int, end: int) -> tuple[F64, F64]:
    """x px and (B, COLUMNS) means of `BLOCK` rows each, those with anything unknown left out."""
    count = max(end - begin, 0) // BLOCK
    rows = slice(begin, begin + count * BLOCK)
    whole = flat.known[rows].reshape(count, BLOCK).all(axis=1)
    profiles = flat.values[rows].reshape(count, BLOCK, COLUMNS)[whole].mean(axis=1)
    at = flat.x_px[rows].reshape(count, BLOCK)[whole].mean(axis=1)
    return at, profiles.astype(np.float64)


def correlations(profiles: F64, blur: float) -> F64:
    """(B, shifts) normalised correlation with a rod's profile, solid or a tube's, whichever fits all of them better."""
    solid, hollow, window = _templates(round(blur, 2))
    sums = profiles @ window.T
    spread = (profiles * profiles) @ window.T - sums * sums / window.sum(axis=1)
    norm = np.sqrt(np.maximum(spread, 1e-12))
    found = [profiles @ shape.T / norm for shape in (solid, hollow)]
    return max(found, key=lambda correlation: float(correlation.max(axis=1).mean()))


def middles_of(profiles: F64, blur: float) -> tuple[F64, F64]:
    """(B,) how far each profile's rod lies aside, in widths, and how much it looks like one, 0 to 1."""
    correlation = correlations(profiles, blur)
    best = np.clip(np.argmax(correlation, axis=1), 1, len(SHIFTS) - 2)
    row = np.arange(len(best))
    before, peak, after = correlation[row, best - 1], correlation[row, best], correlation[row, best + 1]
    bow = np.minimum(before - 2.0 * peak + after, -1e-6)
    step = float(SHIFTS[1] - SHIFTS[0])
    return SHIFTS[best] + np.clip(0.5 * (before - after) / bow, -1.0, 1.0) * step, peak


def likeness(profiles: F64, blur: float) -> F64:
    """(B,) correlation with a rod in the middle; a background that rises to one side is no fault of the rod's."""
    level = profiles - profiles.mean(axis=1, keepdims=True)
    level = level - (level @ OFFSETS / float(OFFSETS @ OFFSETS))[:, None] * OFFSETS
    middle = len(SHIFTS) // 2
    return np.asarray(correlations(level, blur)[:, middle - 3 : middle + 4].max(axis=1))


def width_of(profile: F64) -> float:
    """Full width of a profile in expected widths, from that at half its height; NaN where it has no two sides."""
    level = profile - float(profile[_FLANKS].mean())
    half = 0.5 * float(level[_CORE].max())
    edges = []
    for side in (level[MIDDLE:], level[MIDDLE::-1]):
        below = np.flatnonzero(side < half)
        if not below.size or below[0] == 0:
            return float("nan")
        outer = int(below[0])
        part = (float(side[outer - 1]) - half) / max(float(side[outer - 1] - side[outer]), 1e-12)
        edges.append((outer - 1 + part) * float(OFFSETS[1] - OFFSETS[0]))
    # A solid rod's chord is at half its height at 0.866 of its radius.
    return sum(edges) / 0.866


@lru_cache(maxsize=32)
def _templates(blur: float) -> tuple[F64, F64, F64]:
    """(shifts, COLUMNS) a solid rod's chord and a tube's, zero in the mean over their window of 1, and the window."""
    solid: list[F64] = []
    hollow: list[F64] = []
    window: list[F64] = []
    for shift in SHIFTS:
        fine = OFFSETS[:, None] - shift + np.linspace(-1.5, 1.5, 9) * blur
        outer = np.sqrt(np.maximum(0.25 - fine**2, 0.0)).mean(axis=1)
        inner = np.sqrt(np.maximum(0.25 * _BORE - fine**2, 0.0)).mean(axis=1)
        inside = (np.abs(OFFSETS - shift) <= _WINDOW).astype(np.float64)
        for shape, stack in ((outer, solid), (outer - inner, hollow)):
            level = (shape - (shape * inside).sum() / inside.sum()) * inside
            stack.append(level / np.linalg.norm(level))
        window.append(inside)
    return np.array(solid), np.array(hollow), np.array(window)
