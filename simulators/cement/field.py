"""What lies between tube and detector besides the patient: blades, a display shutter, an assistant's hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.messages import F32
from simulators.cement.base import CM_PER_MM, Region

Box = tuple[int, int, int, int]
"""left, top, right, bottom in px, the last column and row included, as `XRay.CollimatorPx`."""

BLADES_TRANSMISSION: Final = 0.002
_PENUMBRA_PX: Final = 1.2
# An adult's hand and forearm as capsules (from, to, half width) in mm, the wrist at the origin, fingers along +y.
_FLESH: Final = (
    ((-22.0, 20.0), (-24.0, 75.0), 15.0),
    ((-8.0, 10.0), (-8.0, 80.0), 17.0),
    ((10.0, 10.0), (10.0, 80.0), 17.0),
    ((24.0, 20.0), (26.0, 72.0), 14.0),
    ((-26.0, 80.0), (-34.0, 150.0), 8.5),
    ((-10.0, 85.0), (-12.0, 172.0), 9.5),
    ((9.0, 85.0), (11.0, 178.0), 9.5),
    ((26.0, 80.0), (33.0, 165.0), 9.0),
    ((34.0, 30.0), (70.0, 95.0), 10.5),
)
_FOREARM: Final = (((-12.0, -260.0), (-9.0, 12.0), 22.0), ((12.0, -260.0), (9.0, 12.0), 22.0))
_BONE: Final = (
    *((start, end, 0.42 * half) for start, end, half in _FLESH[4:]),
    ((-22.0, 20.0), (-25.0, 78.0), 4.0),
    ((-8.0, 15.0), (-9.0, 82.0), 4.2),
    ((9.0, 15.0), (9.0, 82.0), 4.2),
    ((22.0, 20.0), (25.0, 78.0), 4.0),
    ((-10.0, -260.0), (-10.0, 6.0), 7.0),
    ((12.0, -260.0), (11.0, 6.0), 6.0),
)
_FLESH_MM: Final = 22.0
_BONE_G_CM3: Final = 1.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """A hand on its arm that comes into the beam near the detector and goes again.

    Attributes:
        times_s, places_px: wrist's place (u, v) at these times, straight between; nothing is there outside of them.
        turn_deg: of the fingers, clockwise on the picture from pointing down.
        magnification: of the hand on the detector.
    """

    times_s: tuple[float, ...]
    places_px: tuple[tuple[float, float], ...]
    turn_deg: float = 0.0
    magnification: float = 1.15

    def at(self, t_s: float) -> tuple[float, float] | None:
        """The wrist's pixel then; None: no hand."""
        if not self.times_s[0] <= t_s <= self.times_s[-1]:
            return None
        u, v = (np.interp(t_s, self.times_s, [place[n] for place in self.places_px]) for n in (0, 1))
        return float(u), float(v)


def hand_layers(hand: Hand, t_s: float, size: tuple[int, int], pitch_mm: float) -> tuple[Region, F32, F32] | None:
    """Soft tissue and bone of the hand on the picture.

    Args:
        size: (rows, columns).
        pitch_mm: of the pixels.

    Returns:
        Where it is, soft tissue and bone there in g/cm2; None: not on the picture.
    """
    place = hand.at(t_s)
    if place is None:
        return None
    flesh, bone = (np.zeros(size, np.float32) for _ in range(2))
    scale = hand.magnification / pitch_mm
    turn = np.radians(hand.turn_deg)
    along = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * scale
    for layer, capsules in ((flesh, (*_FLESH, *_FOREARM)), (bone, _BONE)):
        for start, end, half_mm in capsules:
            a, b = along @ start + place, along @ end + place
            _add_capsule(layer, a, b, half_mm * scale, 2.0 * half_mm * CM_PER_MM)
    np.minimum(flesh, np.float32(_FLESH_MM * CM_PER_MM), out=flesh)
    bone *= np.float32(_BONE_G_CM3)
    rows, columns = (np.flatnonzero(flesh.any(axis=axis)) for axis in (1, 0))
    if rows.size == 0:
        return None
    region = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return region, flesh[region], bone[region]


def _add_capsule(layer: F32, a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], half_px: float, cm: float) -> None:
    """The largest of what is there and a round rod from a to b, where it is on the picture."""
    rows, columns = layer.shape
    low = np.maximum(np.floor(np.minimum(a, b) - half_px), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(a, b) + half_px) + 1, (columns, rows)).astype(int)
    if np.any(high <= low):
        return
    u = np.arange(low[0], high[0], dtype=np.float32)[None, :] - np.float32(a[0])
    v = np.arange(low[1], high[1], dtype=np.float32)[:, None] - np.float32(a[1])
    axis = (b - a).astype(np.float32)
    along = np.clip((u * axis[0] + v * axis[1]) / np.float32(axis @ axis), 0.0, 1.0)
    off = (u - along * axis[0]) ** 2 + (v - along * axis[1]) ** 2
    chord = np.sqrt(np.maximum(np.float32(1.0) - off / np.float32(half_px**2), 0.0)) * np.float32(cm)
    block = layer[low[1] : high[1], low[0] : high[0]]
    np.maximum(block, chord, out=block)


def blades(box: Box, size: tuple[int, int]) -> F32:
    """(rows, columns) float32: what the collimator lets through, 1 in the open field."""
    left, top, right, bottom = box
    passed = np.full(size, BLADES_TRANSMISSION, np.float32)
    passed[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = 1.0
    return np.asarray(cv2.GaussianBlur(passed, (0, 0), _PENUMBRA_PX, borderType=cv2.BORDER_REPLICATE), np.float32)


def round_shutter(size: tuple[int, int], share: float = 1.0) -> npt.NDArray[np.bool_]:
    """(rows, columns): where a round display shutter hides the picture; its diameter is `share` of the shorter side."""
    rows, columns = size
    v, u = np.ogrid[:rows, :columns]
    radius = share * min(rows, columns) / 2.0
    hidden: npt.NDArray[np.bool_] = (u - (columns - 1) / 2.0) ** 2 + (v - (rows - 1) / 2.0) ** 2 > radius**2
    return hidden
