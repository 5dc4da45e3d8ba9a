"""Geometry form (c): the suite's calibration table: projection of any pose near calibrated ones, and how well known."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from guidance.errors import GeometryError
from guidance.geometry.calibration_field import DeviationField, FieldModel, PosedView, deviation_field
from guidance.geometry.camera import decomposed
from guidance.geometry.positioner import positioner_axes, wrap_deg
from guidance.messages import F64

# A field of view ("zoom") has its own pitch; neighbouring ones differ by 20 % and more.
_PITCH_TOLERANCE: Final = 0.02
# Pictures of one kind lie alike on the screen, whatever the gantry's sag.
_SAME_ROLL_COSINE: Final = math.cos(math.radians(20.0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibratedView:
    """One calibrated stand of the gantry.

    Attributes:
        primary_deg, secondary_deg, detector_rotation_deg: equipment-related angles as the equipment shows them.
        source_to_detector_mm: as the equipment shows it.
        pixel_from_equipment: (3, 4), equipment axes with the isocentre as origin -> pixel as sent; w in mm.
        covariance: (9, 9) of pixel_from_equipment = K [R | t] S: S a small motion of equipment points about the
            isocentre (shift x, y, z in mm, turn about x, y, z in deg), then principal point u, v in px, then focal
            length relative to itself; None where it is not known.
    """

    primary_deg: float
    secondary_deg: float
    detector_rotation_deg: float
    source_to_detector_mm: float
    pixel_from_equipment: F64
    covariance: F64 | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Views of one source to detector distance, detector rotation, zoom and handedness: what may be interpolated."""

    members: tuple[int, ...]
    between: DeviationField


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibrationTable:
    """The suite's calibrated views.

    Attributes:
        suite: whose it is, for people.
        rows, columns: size of the pictures that it is true for, as sent.
        fov_rotation_deg, fov_flip: turn and flip of those pictures.
        tolerance_deg: how far (turn of the whole gantry, degrees) a pose may be from a calibrated one.
        tolerance_mm: how far its source to detector distance may be from the calibrated one's.
        views: at least one.
        model: how departures vary between views; None: chosen from the views themselves.
    """

    suite: str
    rows: int
    columns: int
    fov_rotation_deg: int
    fov_flip: bool
    tolerance_deg: float
    tolerance_mm: float
    views: tuple[CalibratedView, ...]
    model: FieldModel | None = None
    _axes: F64 = field(init=False, repr=False)
    _pitches_mm: F64 = field(init=False, repr=False)
    _groups: tuple[_Group, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        posed = [_posed(view) for view in self.views]
        pitches = [
            view.source_to_detector_mm / one.parts.focal_v_px for view, one in zip(self.views, posed, strict=True)
        ]
        object.__setattr__(self, "_axes", np.array([one.axes.ravel() for one in posed]))
        object.__setattr__(self, "_pitches_mm", np.array(pitches))
        groups = tuple(
            _Group(members, deviation_field([posed[n] for n in members], self.model))
            for members in _alike(self.views, posed, pitches, self.tolerance_deg, self.tolerance_mm)
        )
        object.__setattr__(self, "_groups", groups)

    def pixel_from_equipment(
        self,
        *,
        primary_deg: float,
        secondary_deg: float,
        detector_rotation_deg: float,
        source_to_detector_mm: float,
        rows: int,
        columns: int,
        fov_rotation_deg: int = 0,
        fov_flip: bool = False,
        pitch_row_mm: float | None = None,
    ) -> F64:
        """Projection for a pose, interpolated between calibrated views of its kind.

        What calibration found beyond the angles (sag, true focus, true centre) is carried on as a smooth field over the
        gantry's axes; a calibrated pose gives its own matrix, within that view's accuracy where it is told.

        Args:
            primary_deg, secondary_deg, detector_rotation_deg: equipment-related.
            source_to_detector_mm: as the equipment shows it.
            rows, columns: of the picture as sent.
            fov_rotation_deg, fov_flip: turn and flip that are in it.
            pitch_row_mm: Imager Pixel Spacing's first value if it is told; another one is another field of view.

        Returns:
            (3, 4), w in mm along the central ray.

        Raises:
            GeometryError: `view_not_calibrated` if nothing within the tolerances was calibrated, or the picture's
                size, turn, flip or field of view is not the table's.
        """
        ours = (self.columns, self.rows, self.fov_rotation_deg, self.fov_flip)
        if (columns, rows, fov_rotation_deg, fov_flip) != ours:
            raise GeometryError(
                f"picture of {columns} x {rows} pixels, turned {fov_rotation_deg} deg, flip {fov_flip:d}: "
                "the calibration table is for {} x {}, {} deg, {:d}".format(*ours),
                code="view_not_calibrated",
                mend="send the calibrated kind of picture or calibrate this one",
            )
        angles = (primary_deg, secondary_deg, detector_rotation_deg)
        between, axes = self._field_at(angles, source_to_detector_mm, pitch_row_mm)
        return between.matrix_at(axes)

    def covariance_at(
        self,
        *,
        primary_deg: float,
        secondary_deg: float,
        detector_rotation_deg: float,
        source_to_detector_mm: float,
        pitch_row_mm: float | None = None,
    ) -> F64 | None:
        """Covariance of `pixel_from_equipment` at a pose.

        Returns:
            (9, 9) as in `CalibratedView`: calibration's own, and the interpolation's as leaving views out shows it;
            None where the table does not tell its views' covariance.

        Raises:
            GeometryError: `view_not_calibrated`.
        """
        angles = (primary_deg, secondary_deg, detector_rotation_deg)
        between, axes = self._field_at(angles, source_to_detector_mm, pitch_row_mm)
        return between.covariance_at(axes) if between.known else None

    def nearest_view(self, primary_deg: float, secondary_deg: float, detector_rotation_deg: float) -> CalibratedView:
        """The view whose angles are nearest (turn of the whole gantry)."""
        axes = positioner_axes(primary_deg, secondary_deg, detector_rotation_deg)
        return self.views[int(np.argmax(self._axes @ axes.ravel()))]

    def left_out(self) -> list[F64]:
        """(3, 4) for each view, in order: what the table without it would give at its pose."""
        matrices: dict[int, F64] = {}
        for group in self._groups:
            matrices.update(zip(group.members, group.between.left_out(), strict=True))
        return [matrices[n] for n in range(len(self.views))]

    @property
    def field_model(self) -> FieldModel:
        """Shape of the field of the largest group, as told or chosen."""
        return max(self._groups, key=lambda group: len(group.members)).between.model

    def _field_at(
        self, angles: tuple[float, float, float], source_to_detector_mm: float, pitch_row_mm: float | None
    ) -> tuple[DeviationField, F64]:
        axes = positioner_axes(*angles)
        cosines = ((self._axes @ axes.ravel() - 1.0) / 2.0).tolist()
        near = [
            n
            for n, view in enumerate(self.views)
            if abs(view.source_to_detector_mm - source_to_detector_mm) <= self.tolerance_mm
        ]
        if pitch_row_mm is not None:
            same = [n for n in near if abs(pitch_row_mm / self._pitches_mm[n] - 1.0) <= _PITCH_TOLERANCE]
            if near and not same:
                raise GeometryError(
                    f"pixel spacing {pitch_row_mm:.4f} mm, the calibration table's view has "
                    f"{self._pitches_mm[near[0]]:.4f} mm",
                    code="view_not_calibrated",
                    mend="calibrate this field of view",
                )
            near = same
        best = max(near, key=cosines.__getitem__, default=None)
        if best is None or math.acos(min(1.0, max(-1.0, cosines[best]))) > math.radians(self.tolerance_deg):
            raise GeometryError(
                f"no view within {self.tolerance_deg:g} deg and {self.tolerance_mm:g} mm of {angles[0]:.1f} / "
                f"{angles[1]:.1f} deg at {source_to_detector_mm:.0f} mm is in the calibration table",
                code="view_not_calibrated",
                mend="calibrate this view or go to one that is",
            )
        return next(group.between for group in self._groups if best in group.members), axes


def _posed(view: CalibratedView) -> PosedView:
    return PosedView(
        axes=positioner_axes(view.primary_deg, view.secondary_deg, view.detector_rotation_deg),
        parts=decomposed(view.pixel_from_equipment),
        covariance=view.covariance,
    )


def _alike(
    views: tuple[CalibratedView, ...],
    posed: list[PosedView],
    pitches_mm: list[float],
    tolerance_deg: float,
    tolerance_mm: float,
) -> list[tuple[int, ...]]:
    """Views sorted into groups within which a gantry's departures may be carried from one to the other."""
    groups: list[list[int]] = []
    rolls = [one.parts.axes @ (one.axes[[0, 2, 1]] * np.array(((1.0,), (-1.0,), (-1.0,)))).T for one in posed]

    def alike(a: int, b: int) -> bool:
        turned_deg = abs(wrap_deg(views[a].detector_rotation_deg - views[b].detector_rotation_deg))
        return (
            abs(views[a].source_to_detector_mm - views[b].source_to_detector_mm) <= tolerance_mm
            and turned_deg <= tolerance_deg
            and abs(pitches_mm[a] / pitches_mm[b] - 1.0) <= _PITCH_TOLERANCE
            and posed[a].parts.handedness == posed[b].parts.handedness
            and (float(np.vdot(rolls[a], rolls[b])) - 1.0) / 2.0 >= _SAME_ROLL_COSINE
        )

    for n in range(len(views)):
        home = next((group for group in groups if alike(n, group[0])), None)
        if home is None:
            groups.append([n])
        else:
            home.append(n)
    return [tuple(group) for group in groups]
