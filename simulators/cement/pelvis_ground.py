"""Points, distances and zones of a patient's pelvis on one side: what its places for cement are made of."""

from __future__ import annotations

from typing import Final

import numpy as np

from guidance.messages import F32, F64, Vector3
from simulators.cement.patients import Patient
from simulators.cement.zone_bodies import Body, chain_body, slab_body
from simulators.pelvis import JOINT_GAP_MM
from simulators.pelvis_anatomy import lumbar_point, sacral_point
from simulators.pelvis_shapes import Tube

_CANAL_REACH_MM: Final = 45.0
_FAT_PLANE_MM: Final = 7.0  # cement outside bone spreads over it, not into the depth


class Ground:
    """Points and parts of one patient, one side."""

    def __init__(self, patient: Patient, side: str) -> None:
        self.pelvis, self.side = patient.pelvis, side
        self.sign = 1.0 if side == "left" else -1.0
        self.origin = np.asarray(patient.origin_lps_mm)

    def moved(self, point: Vector3 | F64) -> Vector3:
        """From an unmoved pelvis to the patient's LPS."""
        x, y, z = (float(value) for value in np.asarray(point) + self.origin)
        return (x, y, z)

    def sacral(self, x: float, depth: float, down: float) -> Vector3:
        """LPS of a place on the sacrum: across to this side, dorsal, down."""
        return self.moved(sacral_point(self.sign * x, depth, down))

    def lumbar(self, x: float, depth: float, up: float) -> Vector3:
        """LPS of a place above it: across to this side, dorsal, up from the end plate."""
        return self.moved(lumbar_point(self.sign * x, depth, up))

    def sacrum_mm(self, points: F32) -> F32:
        """(..., 3) -> (...,) distance to the sacrum, negative in bone."""
        return self.pelvis.sacrum_distance_mm(points.astype(np.float64)).astype(np.float32)

    def over_sacrum(self, points: F32) -> F32:
        """The plane of fat on the sacrum, negative in it."""
        return _layer(self.sacrum_mm(points))

    def hip_mm(self, points: F32) -> F32:
        """Distance to the nearer hip bone."""
        return self.pelvis.hip_distance_mm(points.astype(np.float64)).astype(np.float32)

    def over_hip(self, points: F32) -> F32:
        """The plane of fat on it."""
        return _layer(self.hip_mm(points))

    def gap(self, points: F32) -> F32:
        """The sacroiliac joint: outside both bones, near both."""
        sacrum, hip = self.sacrum_mm(points), self.hip_mm(points)
        between: F32 = np.maximum(np.maximum(-sacrum, -hip), sacrum + hip - np.float32(JOINT_GAP_MM + 1.5))
        return between

    def canal_body(self, near_lps_mm: Vector3) -> Body:
        """The canal near a place, as a zone."""
        tube = self.pelvis.canal
        apart = np.linalg.norm(np.subtract(tube.points_lps_mm, near_lps_mm), axis=1)
        kept = np.flatnonzero(apart <= _CANAL_REACH_MM)
        part = Tube(tuple(tube.points_lps_mm[n] for n in kept), tuple(tube.radii_mm[n] for n in kept))
        return chain_body("canal", "canal", "midline", part)

    def foramen_body(self, level: str, side: str) -> Body:
        """A ventral foramen of the sacrum, as a zone."""
        return chain_body(f"{level} foramen {side}", "foramen", side, self.pelvis.foramina[f"{level} ventral {side}"])

    def ventral_slab(self, name: str, corners: list[tuple[float, float]], side: str | None) -> Body:
        """In front of the sacrum between places (across, down), none of which lies in a foramen."""
        front = [self._front(x, down) for x, down in corners]
        down = float(np.mean([down for _, down in corners]))
        outward = np.subtract(sacral_point(0.0, -40.0, down), sacral_point(0.0, -20.0, down))
        return slab_body(name, "ventral_surface", side, front, outward, 10.0, self.pelvis.sacrum_distance_mm)

    def _front(self, x: float, down: float) -> Vector3:
        depths = np.arange(-35.0, 5.0, 0.25)
        points = np.array([self.sacral(x, depth, down) for depth in depths])
        inside = self.pelvis.sacrum_distance_mm(points) < 0.0
        return self.moved(points[int(np.argmax(inside))] - self.origin)


def _layer(bone_mm: F32) -> F32:
    """Outside bone, and over it no thicker than the plane of fat."""
    layer: F32 = np.maximum(-bone_mm, bone_mm - np.float32(_FAT_PLANE_MM))
    return layer


def endplate_ring(made: Ground, angle: float, up_mm: float = 1.0) -> Vector3:
    """A place on an ellipse over the sacrum's end plate, inside its rim."""
    return made.lumbar(22.0 * float(np.cos(angle)), -1.0 + 14.0 * float(np.sin(angle)), up_mm)


def triple(values: F64) -> Vector3:
    """(3,) as plain numbers."""
    x, y, z = (float(value) for value in values)
    return (x, y, z)
