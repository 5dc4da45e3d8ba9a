"""Between calibrated views: how a gantry departs from its angles, as a smooth field with its own uncertainty."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from guidance.geometry.camera import CameraParts
from guidance.geometry.rotations import rotation_of, turn_of
from guidance.messages import F64

# A departure is 11 numbers beside the ideal gantry, in the camera's axes (along u, along v, to the detector): shift of
# the isocentre in mm, turn in rad, principal point u, v in px, logarithms of both focal lengths, skew in px.
_NUMBERS: Final = 11
# Views by which the two are told apart are rarely more; with fewer nothing can be left out and still be predicted.
_FEWEST_TO_CHOOSE: Final = 5
_LOCAL_DEG: Final = (8.0, 20.0, 45.0)
_LOCAL_SHARES: Final = (0.03, 0.2, 0.7)
_SIGNALS_MM: Final = (0.1, 0.3, 1.0, 3.0, 10.0)
_REPEATS_MM: Final = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
# What a table without covariance leaves to noise: so little that a calibrated pose gives its own matrix.
_NO_NOISE: Final = 1e-10
# Cube about the isocentre in which departures are weighed against each other, half its edge.
_REACH_MM: Final = 60.0
# Views taken once do not tell sag that neighbours cannot foretell from a gantry that does not come back to the same
# place: so much of it, as a variance, is taken for the latter.
_UNREPEATED: Final = 0.75
# Assumed where too few views say how a gantry sags: standard deviation of shift and turn over the whole range.
_ASSUMED_MM: Final = 1.0
_ASSUMED_DEG: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldModel:
    """Shape of the field: a low order in the gantry's axes, plus something local.

    Attributes:
        local_deg: over how many degrees the local part keeps its value, > 0.
        local_share: share of the local part, (0, 1].
        signal_mm: standard deviation of the departures in the picture at the isocentre, > 0.
        repeat_mm: of what differs from one approach of a pose to the next, there; it is smoothed away, and counted into
            every covariance. 0: a calibrated pose gives its own matrix but for calibration's noise.
    """

    local_deg: float
    local_share: float
    signal_mm: float
    repeat_mm: float = 0.0


DEFAULT_MODEL: Final = FieldModel(local_deg=20.0, local_share=0.2, signal_mm=1.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PosedView:
    """What the field takes of one calibrated view.

    Attributes:
        axes: (3, 3) `positioner_axes` of its angles.
        parts: its matrix, taken apart; equipment axes, isocentre as origin.
        covariance: (9, 9), see `calibration.CalibratedView`; None where it is not known.
    """

    axes: F64
    parts: CameraParts
    covariance: F64 | None


@dataclass(frozen=True, slots=True, eq=False)
class DeviationField:
    """Departures of calibrated views and what lies between them (universal kriging, one set of weights for all).

    One set of weights for all eleven numbers: what is badly known in one view (depth against focal length) cancels in
    the picture within that view, and would not if each number were smoothed by itself.

    Attributes:
        model: shape of the field.
        known: whether every view came with a covariance.

    Source: Cressie, Statistics for Spatial Data, 1993, 3.4 (universal kriging); Dubrule, Math. Geol. 15, 1983 (leaving
        one out in closed form).
    """

    model: FieldModel
    known: bool
    _axes: F64  # (n, 9)
    _reference: tuple[F64, F64, F64]  # in-picture turn (3, 3), translation (3,), intrinsics (5,): fu fv skew u0 v0
    _departures: F64  # (n, 11)
    _noise: F64  # (n, 11, 11)
    _inverse: F64  # (n + 1, n + 1) of the bordered kernel matrix
    _kernel: F64  # (n, n) without noise
    _spread: F64  # (11, 11): interpolation error's covariance for kriging variance 1
    _unrepeated: float  # kriging variance that is left everywhere, also at a calibrated pose

    def matrix_at(self, axes: F64) -> F64:
        """(3, 4) pixel_from_equipment, w in mm, where the gantry stands at `axes` ((3, 3), `positioner_axes`)."""
        return self._composed(self._weights(axes) @ self._departures, axes)

    def covariance_at(self, axes: F64) -> F64:
        """(9, 9) of the matrix there: calibration's own and the interpolation's, as in `CalibratedView`."""
        weights = self._weights(axes)
        near = self._similarity(axes)
        between = 1.0 - 2.0 * float(weights @ near) + float(weights @ self._kernel @ weights)
        between += (1.0 + float(weights @ weights)) * (self.model.repeat_mm / self.model.signal_mm) ** 2
        between = max(between, 0.0) + self._unrepeated
        own = (weights * weights) @ self._noise.reshape(len(weights), -1)
        of_eleven = own.reshape(_NUMBERS, _NUMBERS) + between * self._spread
        to_nine = _nine_from_eleven(self._reference[0] @ _camera_axes(axes))
        covariance: F64 = to_nine @ of_eleven @ to_nine.T
        return (covariance + covariance.T) / 2.0

    def left_out(self) -> list[F64]:
        """(3, 4) for each view, predicted from all the others; a lone view by itself."""
        if len(self._departures) < 2:
            return [self._composed(one, axes.reshape(3, 3)) for one, axes in self._pairs(self._departures)]
        predicted = self._departures - _left_out_errors(self._inverse, self._departures)[0]
        return [self._composed(one, axes.reshape(3, 3)) for one, axes in self._pairs(predicted)]

    def _pairs(self, departures: F64) -> list[tuple[F64, F64]]:
        return list(zip(departures, self._axes, strict=True))

    def _similarity(self, axes: F64) -> F64:
        return _kernel(self._axes @ axes.ravel(), self.model)

    def _weights(self, axes: F64) -> F64:
        weights: F64 = self._inverse[:-1, :-1] @ self._similarity(axes) + self._inverse[:-1, -1]
        return weights

    def _composed(self, departure: F64, axes: F64) -> F64:
        turn, translation, intrinsics = self._reference
        rotation = rotation_of(departure[3:6]) @ turn @ _camera_axes(axes)
        focal_u, focal_v = (intrinsics[:2] * np.exp(departure[8:10])).tolist()
        skew, u0, v0 = (intrinsics[2:] + departure[[10, 6, 7]]).tolist()
        calibration = np.array(((focal_u, skew, u0), (0.0, focal_v, v0), (0.0, 0.0, 1.0)))
        matrix: F64 = calibration @ np.column_stack((rotation, translation + departure[:3]))
        return matrix


def deviation_field(views: Sequence[PosedView], model: FieldModel | None = None) -> DeviationField:
    """Make the field of views that share source to detector distance, detector rotation and zoom.

    Args:
        views: at least one.
        model: shape; None: chosen by leaving each view out.
    """
    camera_axes = np.array([_camera_axes(view.axes) for view in views])
    reference = _reference_of(views, camera_axes)
    departures = np.array([_departure(view, axes, reference) for view, axes in zip(views, camera_axes, strict=True)])
    covariances = [view.covariance for view in views if view.covariance is not None]
    known = len(covariances) == len(views)
    noise = np.zeros((len(views), _NUMBERS, _NUMBERS))
    for n, covariance in enumerate(covariances if known else ()):
        spread = _eleven_from_nine(reference[0] @ camera_axes[n])
        noise[n] = spread @ covariance @ spread.T
    axes = np.array([view.axes.ravel() for view in views])
    effect = _effect(reference)
    noise_mm2 = np.einsum("pj,ijk,pk->i", effect, noise, effect) / len(effect)
    if model is None:
        model = _chosen(axes, departures @ effect.T, noise_mm2)
    kernel = _kernel(axes @ axes.T, model)
    inverse = _inverse(kernel, noise_mm2, model)
    spread, unrepeated = _left_to_chance(inverse, departures)
    return DeviationField(model, known, axes, reference, departures, noise, inverse, kernel, spread, unrepeated)


def _camera_axes(axes: F64) -> F64:
    """(3, 3): along u, along v, to the detector, of an unrotated, unflipped picture."""
    x, y, z = axes
    return np.array((x, -z, -y))


def _reference_of(views: Sequence[PosedView], camera_axes: F64) -> tuple[F64, F64, F64]:
    # Turn and flip of the picture, and any roll of the whole suite, are in every view: one of them stands for all.
    turns = np.array([view.parts.axes @ axes.T for view, axes in zip(views, camera_axes, strict=True)])
    middle = int(np.argmax(np.einsum("nij,mij->n", turns, turns)))
    translation = np.asarray(np.median(np.array([view.parts.translation_mm for view in views]), axis=0), np.float64)
    intrinsics = np.asarray(np.median(np.array([_intrinsics(view.parts) for view in views]), axis=0), np.float64)
    return turns[middle], translation, intrinsics


def _intrinsics(parts: CameraParts) -> F64:
    return np.array((parts.focal_u_px, parts.focal_v_px, parts.skew_px, *parts.principal_point_px))


def _departure(view: PosedView, camera_axes: F64, reference: tuple[F64, F64, F64]) -> F64:
    turn, translation, intrinsics = reference
    own = _intrinsics(view.parts)
    return np.concatenate(
        (
            view.parts.translation_mm - translation,
            turn_of(view.parts.axes @ (turn @ camera_axes).T),
            own[3:] - intrinsics[3:],
            np.log(own[:2] / intrinsics[:2]),
            own[2:3] - intrinsics[2:3],
        )
    )


def _eleven_from_nine(rotation: F64) -> F64:
    """(11, 9): shift mm and turn deg of equipment points, principal point, relative focal length -> a departure."""
    spread = np.zeros((_NUMBERS, 9))
    spread[:3, :3] = rotation
    # A mirror turns an axis of rotation round (it is an axial vector).
    spread[3:6, 3:6] = rotation * math.radians(math.copysign(1.0, float(np.linalg.det(rotation))))
    spread[6, 6] = spread[7, 7] = spread[8, 8] = spread[9, 8] = 1.0
    return spread


def _nine_from_eleven(rotation: F64) -> F64:
    """(9, 11): the way back; both focal lengths' mean, and no skew."""
    back = np.zeros((9, _NUMBERS))
    back[:3, :3] = rotation.T
    back[3:6, 3:6] = rotation.T * math.degrees(math.copysign(1.0, float(np.linalg.det(rotation))))
    back[6, 6] = back[7, 7] = 1.0
    back[8, 8] = back[8, 9] = 0.5
    return back


def _effect(reference: tuple[F64, F64, F64]) -> F64:
    """(P, 11): mm at the isocentre by which points of a cube move in the picture, for each number of a departure."""
    _, translation, (focal_u, focal_v, _, _, _) = reference
    cube = np.array(list(itertools.product((-_REACH_MM, 0.0, _REACH_MM), repeat=3)))
    x, y, z = (cube + translation).T
    rows = np.zeros((2, len(cube), _NUMBERS))
    depth = float(translation[2])
    for axis, (along, focal) in enumerate(((x, focal_u), (y, focal_v))):
        rows[axis, :, axis] = 1.0 / z
        rows[axis, :, 2] = -along / (z * z)
        turned = np.cross(np.eye(3)[:, None, :], cube[None, :, :])  # (turn about, point, xyz)
        rows[axis, :, 3:6] = (turned[:, :, axis] / z - turned[:, :, 2] * along / (z * z)).T
        rows[axis, :, 6 + axis] = 1.0 / focal
        rows[axis, :, 8 + axis] = along / z
    rows[0, :, 10] = y / z / focal_u
    effect: F64 = depth * rows.reshape(-1, _NUMBERS)
    return effect


def _kernel(trace: F64, model: FieldModel) -> F64:
    """Likeness of departures at two poses, 1 at the same, from the trace of one's axes times the other's transposed.

    First and second order in the axes' elements are sines and cosines of the angles and their products: sag under
    gravity. The rest is local (Matern 3/2 over the chord between rotations, so that it is a covariance on all of them).
    """
    smooth = trace / 3.0
    chord = np.sqrt(np.maximum(3.0 - trace, 0.0))  # 2 sin(angle / 2)
    reach = math.sqrt(3.0) / math.radians(model.local_deg) * chord
    local = (1.0 + reach) * np.exp(-reach)
    likeness: F64 = (1.0 - model.local_share) * (0.5 * smooth + 0.5 * smooth * smooth) + model.local_share * local
    return likeness


def _inverse(kernel: F64, noise_mm2: F64, model: FieldModel) -> F64:
    count = len(kernel)
    bordered = np.zeros((count + 1, count + 1))
    nugget = (noise_mm2 + model.repeat_mm**2) / model.signal_mm**2 + _NO_NOISE
    bordered[:count, :count] = kernel + np.diag(nugget)
    bordered[count, :count] = bordered[:count, count] = 1.0
    return np.asarray(np.linalg.inv(bordered), np.float64)


def _left_out_errors(inverse: F64, values: F64) -> tuple[F64, F64]:
    """Value less what the others predict (n, k), and the kriging variance of that (n,)."""
    own = np.maximum(np.diag(inverse)[:-1], 1e-12)
    errors = np.asarray(inverse[:-1, :-1] @ values / own[:, None], np.float64)
    return errors, 1.0 / own


def _chosen(axes: F64, effects_mm: F64, noise_mm2: F64) -> FieldModel:
    """The shape under which each view, foretold from the others, is likeliest (Sundararajan & Keerthi, 2001)."""
    if len(axes) < _FEWEST_TO_CHOOSE:
        return DEFAULT_MODEL
    trace = axes @ axes.T
    best, least = DEFAULT_MODEL, math.inf
    # A table without covariances is taken at its word: each view as it stands.
    repeats = _REPEATS_MM if noise_mm2.any() else (0.0,)
    for degrees, share in itertools.product(_LOCAL_DEG, _LOCAL_SHARES):
        shape = FieldModel(local_deg=degrees, local_share=share, signal_mm=1.0)
        kernel = _kernel(trace, shape)
        for signal, repeat in itertools.product(_SIGNALS_MM, repeats):
            model = replace(shape, signal_mm=signal, repeat_mm=repeat)
            errors, variances = _left_out_errors(_inverse(kernel, noise_mm2, model), effects_mm)
            expected_mm2 = np.maximum(variances * signal**2, 1e-12)
            found_mm2 = np.mean(errors * errors, axis=1)
            # The logarithm of 1 + x for x: one badly calibrated view must not choose.
            size = float(np.mean(np.log(expected_mm2) + 2.0 * np.log1p(found_mm2 / (2.0 * expected_mm2))))
            if size < least:
                best, least = model, size
    return best


def _left_to_chance(inverse: F64, departures: F64) -> tuple[F64, float]:
    """Covariance of what lies between views, per unit of kriging variance; and the variance that is left everywhere."""
    if len(departures) < _FEWEST_TO_CHOOSE:
        assumed = np.zeros(_NUMBERS)
        assumed[:3], assumed[3:6] = _ASSUMED_MM, math.radians(_ASSUMED_DEG)
        return np.diag(assumed**2), 0.0
    errors, variances = _left_out_errors(inverse, departures)
    spread: F64 = (errors / variances[:, None]).T @ errors / len(errors)
    return spread, _UNREPEATED * float(np.median(variances))
