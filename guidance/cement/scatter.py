"""How much of a picture's signal is scattered radiation: one smooth field, from all that the picture itself tells.

Scatter is taken as a wide blur of the primary; how much and how wide is weighed by evidence: what a radiograph of that
thickness usually has, the signal behind the collimator's blades, the darkest spots (no place has more scatter than
signal), and the contrast of the body's parts as the volume predicts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

from guidance.cement.body_shadow import BodyShadow
from guidance.cement.contrast_kept import ContrastKept
from guidance.cement.opacity import USUAL_WATER_MM
from guidance.cement.split_signal import SplitSignal, cells_of, coarse, share_of
from guidance.messages import F32, F64, U8

_USUAL_WIDTH_MM: Final = 300.0  # of a detector whose pitch is not told
# Scatter over primary behind 200 mm of water in a wide field, about as the thickness. Behind the grids of angiography
# (13:1 to 17:1) 0.1 to 0.8 is told, behind lesser ones and thick patients up to 1.5 (Siewerdsen & Jaffray, Med Phys 28,
# 2001; Fetterly & Schueler, PMB 52, 2007; Bor et al., J Med Phys 41, 2016): a wide guess, for anything better to mend,
# in the middle of that, for which grid there is is not told.
_USUAL_RATIO: Final = 0.4
_RATIO_SIGMA_LN: Final = 0.8
_RATIO_WATER_MM: Final = 200.0
_RATIOS: Final = np.geomspace(0.02, 5.0, 18)
_FINE: Final = np.linspace(0.0, len(_RATIOS) - 1.0, 12 * (len(_RATIOS) - 1) + 1)  # between the ratios
_WIDTHS_MM: Final = (30.0, 45.0, 70.0)  # of the blur, at the detector
_BLADE_SIGMA_LN: Final = 0.2  # the fall from the field outwards is no one blur, and blades and screen shed some light
_BLADE_REACH_MM: Final = 60.0
_BLADE_PENUMBRA_MM: Final = 6.0
_LEAST_BLADE_CELLS: Final = 12
_LEAST_CELLS: Final = 4
_DARK_SLACK: Final = 1.05
_DARK_SIGMA: Final = 0.05
_NOISE_PX: Final = 1.5
_SIGMAS: Final = 1.96
# Where the volume's contrast alone tells: HU of a cone-beam CT and the filters of both beams are known no better than
# this, and so is bone's contrast. Bone that attenuates as water of its HU would (one energy, no hardening) has 20 %
# less contrast than predicted, which reads as scatter.
_BEAM_SIGMA: Final = 0.08
_MISFIT_PARTS: Final = 4.0  # few, for the true field is not quite a blur of the primary, and off it over wide parts
_LEAST_MISFIT: Final = 0.03  # no field of scatter is a blur of the primary to better than this
_GUESSED_SIGMA: Final = 0.3  # of ln(1 - share) where neither blades nor a volume tell: a share of 0.1 to 0.6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scatter:
    """Scatter's share of the signal in the open field of the reference.

    Attributes:
        share: (R, C) float32 in [0, 0.9] of the counts given, pixel by pixel, read-only; 0 where it is not known.
        counts: (r, c) float32 scatter in the reference's own units, in equal cells over the whole picture.
        sigma: one standard deviation of the share in the middle of the field.
        primary_sigma: of ln(1 - share), half of the farther end of its 95 % interval: what it adds to a thin thickness,
            as a share; to a thick one of log contrast c it is (e^c - 1) / c times that.
        ratio: mean of scatter over primary.
        sources: what it rests on, of `usual`, `blades`, `dark`, `body`, `room`.
    """

    share: F32
    counts: F32
    sigma: float
    primary_sigma: float
    ratio: float
    sources: tuple[str, ...]

    def at_size(self, rows: int, columns: int) -> F32:
        """(rows, columns) float32."""
        return np.asarray(cv2.resize(self.share, (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32)


def scatter_of(
    counts: npt.NDArray[np.generic],
    open_field: U8 | npt.NDArray[np.bool_],
    *,
    behind_blades: U8 | npt.NDArray[np.bool_] | None = None,
    pitch_mm: float | None = None,
    water_mm: float | None = None,
    body: BodyShadow | None = None,
) -> Scatter:
    """Estimate the scatter of one pose from its reference picture.

    Args:
        counts: (rows, columns) of a real type, proportional to what the detector got: mean of some frames.
        open_field: (rows, columns) 1 where the picture is neither blade nor shutter, nor saturated.
        behind_blades: (rows, columns) 1 where a blade keeps the primary off and the detector still tells what arrives;
            not a display shutter, which tells nothing. None: there is none.
        pitch_mm: of a pixel at the detector; None: a detector of 300 mm is taken.
        water_mm: thickness of the patient in water; None: the volume's, else not known.
        body: what the volume predicts of this pose; None: no volume or no geometry.

    Raises:
        ValueError: shapes differ, or a picture without two rows and columns.
    """
    values = np.ascontiguousarray(counts, np.float32)
    is_open = np.ascontiguousarray(open_field, np.uint8)
    if values.ndim != 2 or min(values.shape) < 2 or is_open.shape != values.shape:
        raise ValueError("counts and open_field must be one picture")
    rows, columns = values.shape
    size = cells_of(rows, columns)
    cell_mm = (pitch_mm or _USUAL_WIDTH_MM / max(rows, columns)) * max(rows / size[0], columns / size[1])
    is_open = is_open & np.isfinite(values) & (values > 0.0)
    signal, weight = coarse(values, is_open, size)
    field = weight > 0.5
    if np.count_nonzero(field) < _LEAST_CELLS:
        return _nothing_known(values.shape)
    evidence: list[tuple[str, F64]] = []
    models = [SplitSignal(signal, weight, ratio, width / cell_mm) for width in _WIDTHS_MM for ratio in _RATIOS]
    for before, model in zip([None, *models], models, strict=False):
        model.solve(before)
    ratios = np.array([model.ratio(field) for model in models])
    if water_mm is None and body is not None:
        water_mm = body.thickness_mm
    water_mm = USUAL_WATER_MM if water_mm is None else water_mm
    usual = _USUAL_RATIO * float(np.clip(water_mm / _RATIO_WATER_MM, 0.2, 2.2))
    wide = np.array([model.wide_ratio for model in models])
    evidence.append(("usual", -0.5 * (np.log(wide / usual) / _RATIO_SIGMA_LN) ** 2))
    if behind_blades is not None:
        evidence += _blades(values, np.ascontiguousarray(behind_blades, np.uint8), field, models, cell_mm)
    evidence += _dark(values, is_open, field, models)
    if body is not None:
        evidence += _body(values, is_open, body, models)
        if not body.whole and body.room.logs is not None:
            evidence.append(("room", np.repeat(body.room.logs, len(_RATIOS))))
    log = _between(np.sum([log for _, log in evidence], axis=0))
    fine = np.exp(log - log.max())
    fine /= fine.sum()
    if body is not None and body.whole:
        body.room.learn(fine.sum(axis=1))
    return _weighed(evidence, fine, models, field, ratios, _without_noise(values, is_open))


def _blades(
    values: F32, behind: U8, field: npt.NDArray[np.bool_], models: Sequence[SplitSignal], cell_mm: float
) -> list[tuple[str, F64]]:
    """What arrives behind blades near the field is scatter alone; its fall tells the width."""
    size = field.shape
    away_mm = cv2.distanceTransform((~field).astype(np.uint8), cv2.DIST_L2, 3) * cell_mm
    found, weight = coarse(values, behind & np.isfinite(values), (size[0], size[1]))
    used = (weight > 0.9) & (away_mm > _BLADE_PENUMBRA_MM) & (away_mm < _BLADE_REACH_MM) & (found > 0.0)
    if np.count_nonzero(used) < _LEAST_BLADE_CELLS:
        return []
    seen = found[used]
    answer = []
    for model in models:
        off = np.log(np.maximum(model.scatter[used], 1e-9) / seen)
        # Cells beside one another are wrong together: they count as one for the level, and as a few for the fall.
        answer.append(-0.5 * (float(np.mean(off)) ** 2 + 4.0 * float(np.var(off))) / _BLADE_SIGMA_LN**2)
    return [("blades", np.array(answer))]


def _dark(
    values: F32, is_open: U8, field: npt.NDArray[np.bool_], models: Sequence[SplitSignal]
) -> list[tuple[str, F64]]:
    """No place has more scatter than signal: dense metal, or bone in the thickest part, bounds it from above."""
    rows, columns = field.shape
    smooth = cv2.blur(values, (3, 3))
    smooth = np.where(cv2.erode(is_open, np.ones((5, 5), np.uint8)) > 0, smooth, np.float32(np.inf))
    step = (-(-values.shape[0] // rows), -(-values.shape[1] // columns))
    lowest = cv2.erode(np.minimum(smooth, np.float32(1e30)), np.ones(step, np.uint8), borderValue=1e30)
    middles = cv2.resize(lowest, (columns, rows), interpolation=cv2.INTER_NEAREST)
    used = field & (middles < 1e29)
    if not used.any():
        return []
    above = [
        float(np.max(np.maximum(model.scatter[used] / (_DARK_SLACK * middles[used]) - 1.0, 0.0))) for model in models
    ]
    return [("dark", -0.5 * (np.array(above) / _DARK_SIGMA) ** 2)]


def _body(values: F32, is_open: U8, body: BodyShadow, models: Sequence[SplitSignal]) -> list[tuple[str, F64]]:
    """Scatter takes contrast off bones and all else: what is left of what the volume predicts tells how much."""
    signal, weight = coarse(values, is_open, (body.contrast.shape[0], body.contrast.shape[1]))
    if body.used is not None:
        weight = weight * body.used
    kept = ContrastKept(signal, weight, body.contrast, body.blur_bins, complete=body.whole)
    answer = []
    for model in models:
        found, sigma, misfit = kept.of(share_of(model.scatter, signal))
        if not np.isfinite(sigma):
            return []
        told = -0.5 * float(np.log(found)) ** 2 / (body.sigma**2 + sigma**2)
        if body.whole:
            # Scatter takes more contrast off where it is dark than where it is bright: that tells it from bone of
            # another density. Bones outside the volume would be taken for it.
            told -= 0.5 * _MISFIT_PARTS * float(np.log(misfit**2 + _LEAST_MISFIT**2))
        answer.append(told)
    return [("body", np.array(answer))]


def _weighed(
    evidence: Sequence[tuple[str, F64]],
    fine: F64,
    models: Sequence[SplitSignal],
    field: npt.NDArray[np.bool_],
    ratios: F64,
    values: F32,
) -> Scatter:
    chance = _at_nodes(fine)
    shares = [model.share() for model in models]
    middles = np.array([float(np.median(share[field])) for share in shares])
    sigma = float(np.sqrt(np.sum(chance * (middles - np.sum(chance * middles)) ** 2)))
    primary_sigma = _half_width(_between(np.log1p(-middles)).ravel(), fine.ravel()) / _SIGMAS
    counts = np.tensordot(chance.astype(np.float32), np.stack([model.scatter for model in models]), axes=1)
    counts = np.asarray(counts, np.float32)
    share = share_of(counts, values)
    share.flags.writeable = counts.flags.writeable = False
    told = [name for name, log in evidence if name == "usual" or float(np.ptp(log)) > 0.5]
    if not {"blades", "body"} & set(told):
        primary_sigma = max(primary_sigma, _GUESSED_SIGMA)
    elif "blades" not in told:
        primary_sigma = float(np.hypot(primary_sigma, _BEAM_SIGMA))
    return Scatter(
        share=share,
        counts=counts,
        sigma=sigma,
        primary_sigma=primary_sigma,
        ratio=float(np.sum(chance * ratios)),
        sources=tuple(told),
    )


def _half_width(logs: F64, chance: F64) -> float:
    """The farther of the two ends between which 95 % lie, from the mean: guesses reach farther up than down."""
    order = np.argsort(logs)
    cumulated = np.cumsum(chance[order]) - 0.5 * chance[order]
    mean = float(chance @ logs)
    low, high = np.interp((0.025, 0.975), cumulated, logs[order])
    return float(max(mean - low, high - mean))


def _between(values: F64) -> F64:
    """(widths, ratios) -> (widths, fine ratios): it goes as a smooth curve."""
    nodes = np.arange(len(_RATIOS))
    return np.asarray(PchipInterpolator(nodes, values.reshape(len(_WIDTHS_MM), -1), axis=1)(_FINE), np.float64)


def _at_nodes(chance: F64) -> F64:
    """(widths, fine ratios) -> (widths * ratios): each goes to the two nodes that it lies between."""
    before = np.minimum(_FINE.astype(int), len(_RATIOS) - 2)
    after = _FINE - before
    found = np.zeros((len(_WIDTHS_MM), len(_RATIOS)))
    for row, weight in zip(found, chance, strict=True):
        np.add.at(row, before, weight * (1.0 - after))
        np.add.at(row, before + 1, weight * after)
    return found.ravel()


def _without_noise(values: F32, is_open: U8) -> F32:
    """Mean of the open pixels around; 0 where there is none."""
    weight = is_open.astype(np.float32)
    around = cv2.GaussianBlur(weight, (0, 0), _NOISE_PX)
    total = cv2.GaussianBlur(np.where(is_open > 0, values, np.float32(0.0)), (0, 0), _NOISE_PX)
    return np.asarray(np.where(is_open > 0, total / np.maximum(around, np.float32(1e-6)), 0.0), np.float32)


def _nothing_known(shape: tuple[int, ...]) -> Scatter:
    share = np.zeros(shape, np.float32)
    share.flags.writeable = False
    return Scatter(share=share, counts=share, sigma=0.0, primary_sigma=float("inf"), ratio=0.0, sources=())
