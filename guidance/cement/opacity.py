"""How thick cement is that weakens the beam by so much: a small monotone table, beam hardening in it, and how sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.cement.beam import DetectedBeam, detected_beam, linear_per_mm, mixture_per_mm
from guidance.messages import F32, F64

LARGEST_MM: Final = 120.0
"""No cement in a body is thicker along a ray."""
USUAL_KVP: Final = 80.0
USUAL_WATER_MM: Final = 250.0  # a pelvis: 200 to 250 from front to back, 350 across
LARGEST_CONTRAST: Final = 6.0
"""A share of 0.002 of the signal is left: less than scatter and read-out tell apart."""
LARGEST_WATER_MM: Final = 700.0
_ENTRIES: Final = 512
_SLOPES_MM: Final = np.concatenate([[0.0], np.geomspace(0.001, LARGEST_MM, 320)])
_JUDGED_AT: Final = 0.5  # log contrast at which the uncertainty is told: some millimetres of a usual cement

# One standard deviation of what the table rests on, where nothing better is told.
_KVP_TOLD: Final = 0.02  # share; acceptance limits are 5 to 10 % (IEC 60601-2-54), in practice 2 %
_KVP_UNKNOWN: Final = 12.0  # kV about the usual
_WATER_TOLD_MM: Final = 30.0
_WATER_UNKNOWN_MM: Final = 70.0
_FILTER_SHARE: Final = 0.3
_FILTER_CU_MM: Final = 0.1
_TUBE_MODEL: Final = 0.02  # spekpy beside Kramers' law through the same filters and 200 mm of water: 1 to 4 %
_COMPOSITION: Final = 0.04  # mixing, pores (up to 10 % after Haas 1975), opacifier that settles
_WEDGE: Final = 0.03  # a told or measured opacity
_LARGEST_SHARE: Final = 0.9  # of barium sulphate in a stand-in


@dataclass(frozen=True, slots=True, kw_only=True)
class OpacitySource:
    """What is known of a cement's attenuation.

    Attributes:
        parts: material and weight share, PMMA with them; None: not told.
        density_g_cm3: measured; None: of the parts.
        told_per_mm: contrast of thin cement in this very beam; it counts before everything else.
        measured_per_mm, measured_kvp: the same at some voltage, from a cement's profile.
    """

    parts: tuple[tuple[str, float], ...] | None = None
    density_g_cm3: float | None = None
    told_per_mm: float | None = None
    measured_per_mm: float | None = None
    measured_kvp: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opacity:
    """Thickness from log contrast, cement taking the place of soft tissue.

    Attributes:
        contrast: (512,) float32 from 0, evenly spaced; what is beyond its end counts as its end.
        thickness_mm: (512,) float32 rising from 0; read-only.
        per_mm: contrast of the first millimetre's beginning.
        relative_sigma: one standard deviation of a thickness, as a share: beam, composition, hardening.
        kvp: that it is for.
    """

    contrast: F32
    thickness_mm: F32
    per_mm: float
    relative_sigma: float
    kvp: float

    @property
    def step(self) -> float:
        """Contrast from entry to entry."""
        return float(self.contrast[1])

    def thickness_of(self, contrast: F64 | F32 | float) -> F64:
        """mm; below no contrast the first millimetre's law goes on, so that noise stays without bias."""
        values = np.asarray(contrast, np.float64)
        inside = np.interp(values, self.contrast, self.thickness_mm)
        return np.where(values < 0.0, values / self.per_mm, inside)

    def contrast_of(self, thickness_mm: F64 | F32 | float) -> F64:
        """The other way."""
        values = np.asarray(thickness_mm, np.float64)
        inside = np.interp(values, self.thickness_mm, self.contrast)
        return np.where(values < 0.0, values * self.per_mm, inside)


def opacity_of(
    source: OpacitySource,
    *,
    kvp: float | None,
    filtration_mm_al: float,
    filtration_mm_cu: float,
    water_mm: float | None,
) -> Opacity:
    """The table of one cement in one beam.

    Args:
        source: parts, or an opacity, or both.
        kvp: 40 to 140; None: not known.
        filtration_mm_al, filtration_mm_cu: of the beam.
        water_mm: of the patient, 0 to 700; None: not known.
    """
    voltage = USUAL_KVP if kvp is None else kvp
    water = USUAL_WATER_MM if water_mm is None else water_mm
    kvp_sigma = _KVP_UNKNOWN if kvp is None else _KVP_TOLD * kvp
    water_sigma = _WATER_UNKNOWN_MM if water_mm is None else _WATER_TOLD_MM

    def contrasts(volts: float, aluminium: float, copper: float, thick: float) -> F64:
        return _contrasts(source, detected_beam(volts, aluminium, copper, thick), aluminium, copper, thick)

    here = contrasts(voltage, filtration_mm_al, filtration_mm_cu, water)
    judged = float(np.interp(_JUDGED_AT, here, _SLOPES_MM))
    others = (
        contrasts(voltage + kvp_sigma, filtration_mm_al, filtration_mm_cu, water),
        contrasts(voltage, filtration_mm_al * (1.0 + _FILTER_SHARE), filtration_mm_cu + _FILTER_CU_MM, water),
        contrasts(voltage, filtration_mm_al, filtration_mm_cu, water + water_sigma),
    )
    variance = sum((float(np.interp(judged, _SLOPES_MM, other)) / _JUDGED_AT - 1.0) ** 2 for other in others)
    is_measured = source.told_per_mm is not None or source.measured_per_mm is not None
    variance += _WEDGE**2 if is_measured else _COMPOSITION**2 + _TUBE_MODEL**2
    even = np.linspace(0.0, min(here[-1], LARGEST_CONTRAST), _ENTRIES)
    thickness = np.interp(even, here, _SLOPES_MM).astype(np.float32)
    contrast = even.astype(np.float32)
    thickness.flags.writeable = contrast.flags.writeable = False
    return Opacity(
        contrast=contrast,
        thickness_mm=thickness,
        per_mm=float(here[1] / _SLOPES_MM[1]),
        relative_sigma=float(np.sqrt(variance)),
        kvp=voltage,
    )


def _contrasts(source: OpacitySource, beam: DetectedBeam, aluminium: float, copper: float, water: float) -> F64:
    """At each of `_SLOPES_MM`."""
    told = source.told_per_mm
    if told is None and source.measured_per_mm is not None and source.measured_kvp is not None:
        if source.parts is None:
            there = detected_beam(source.measured_kvp, aluminium, copper, water)
            linear = _barium(there, source.measured_per_mm)
            return beam.contrast(linear, _SLOPES_MM)
        linear = _added(source.parts, source.density_g_cm3)
        there = detected_beam(source.measured_kvp, aluminium, copper, water)
        return beam.contrast(linear * (source.measured_per_mm / there.mean_per_mm(linear)), _SLOPES_MM)
    if told is None:
        assert source.parts is not None
        return beam.contrast(_added(source.parts, source.density_g_cm3), _SLOPES_MM)
    if source.parts is None:
        return beam.contrast(_barium(beam, told), _SLOPES_MM)
    linear = _added(source.parts, source.density_g_cm3)
    return beam.contrast(linear * (told / beam.mean_per_mm(linear)), _SLOPES_MM)


def _added(parts: tuple[tuple[str, float], ...], density_g_cm3: float | None) -> F64:
    """What cement adds to the soft tissue that it takes the place of; marrow and tumour differ by 0.001 per mm."""
    return mixture_per_mm(dict(parts), density_g_cm3) - linear_per_mm("soft_tissue")


def _barium(beam: DetectedBeam, per_mm: float) -> F64:
    """A mixture of PMMA and barium sulphate of that opacity: the stand-in for a cement of which no more is told."""
    low, high = 0.0, _LARGEST_SHARE
    for _ in range(40):
        share = (low + high) / 2.0
        linear = _added((("barium_sulphate", share), ("pmma", 1.0 - share)), None)
        low, high = (share, high) if beam.mean_per_mm(linear) < per_mm else (low, share)
    return linear * (per_mm / beam.mean_per_mm(linear))
