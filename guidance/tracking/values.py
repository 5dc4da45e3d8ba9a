"""What is told of an instrument: as seen in one picture, and as placed in the patient."""

from __future__ import annotations

from dataclasses import dataclass

from guidance.messages import F64, Vector3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeenInstrument:
    """An instrument in one picture, near one planned path.

    Attributes:
        path_id: the path that it was looked for along.
        centreline_px: (N, 2) u, v of its middle, N >= 2, from the entry's side to the tip's; a straight one has 2.
        tip_px: its end on the target's side; None where that cannot be told, see `tip_unknown`.
        tip_sigma_px: standard deviation of the tip along the centreline; None without a tip.
        tip_unknown: words why there is no tip; "" where there is one.
        sigma_px: standard deviation of the centreline across itself, of a whole straight line's middle.
        diameter_px: width of its shadow.
        contrast: how much its middle takes away, natural logarithm for linear pictures, else the picture's own units.
        score: 0 to 1, how much like a rod of that width it looks.
        bend_px: how far its middle lies off the chord between its ends; 0 for a straight one.
    """

    path_id: str
    centreline_px: F64
    tip_px: tuple[float, float] | None
    tip_sigma_px: float | None
    tip_unknown: str
    sigma_px: float
    diameter_px: float
    contrast: float
    score: float
    bend_px: float

    @property
    def bent(self) -> bool:
        """Whether its centreline is a curve."""
        return len(self.centreline_px) > 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InstrumentView:
    """One picture's finding with its geometry.

    Attributes:
        seen: what was found.
        pixel_from_patient: (3, 4) as trusted, w in mm along the central ray, > 0 in front of the source.
        geometry_sigma_px: standard deviation by which the geometry may misplace what is seen, px along any direction.
        name: of the input, for words.
    """

    seen: SeenInstrument
    pixel_from_patient: F64
    geometry_sigma_px: float = 0.0
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlacedInstrument:
    """An instrument in the patient, from two views or more.

    Attributes:
        path_id: the path that it was looked for along.
        accepted: whether it may be used.
        reason: words: why not, or how well.
        code: stable snake_case name of the refusal; "" where accepted.
        tip_lps_mm: its tip; None where no view shows it, or where refused.
        axis: unit vector along it at the tip, from the hub to the tip; None where refused.
        curve_lps_mm: (N, 3) its middle as far as both views show it, the tip's end last; (0, 3) where refused.
        residual_px: root mean square by which its projections miss what is seen, in the views' pixels.
        residual_mm: the same at its depth.
        tip_sigma_mm: standard deviation of the tip along its worst direction; None without a tip.
        tip_covariance_mm2: (3, 3) of the tip; None without a tip.
        axis_sigma_deg: standard deviation of the axis; None where refused.
        views: how many it was placed from.
    """

    path_id: str
    accepted: bool
    reason: str
    code: str
    tip_lps_mm: Vector3 | None
    axis: Vector3 | None
    curve_lps_mm: F64
    residual_px: float | None
    residual_mm: float | None
    tip_sigma_mm: float | None
    tip_covariance_mm2: F64 | None
    axis_sigma_deg: float | None
    views: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentDepth:
    """Where an instrument is against its plan; lengths in mm, None where it cannot be told.

    Attributes:
        path_id: of the plan.
        depth_mm: from the entry along the planned axis to the tip's foot on it; negative before the entry.
        to_target_mm: what is left to the target along the axis; negative past it.
        off_axis_mm: the tip's distance from the planned axis; of one view only what is seen across the picture.
        angle_deg: between the instrument's axis and the plan's; of one view as seen in it.
        sigma_mm: standard deviation of the depth.
        views: how many views it is told from. With one, the depth holds only if the tip lies on the planned path.
        reason: words why the depth is not told; "" where it is.
    """

    path_id: str
    depth_mm: float | None
    to_target_mm: float | None
    off_axis_mm: float | None
    angle_deg: float | None
    sigma_mm: float | None
    views: int
    reason: str = ""

    @property
    def assumed(self) -> bool:
        """Whether the depth holds only if the tip lies on the planned path."""
        return self.views < 2
