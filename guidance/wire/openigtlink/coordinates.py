"""RAS at the OpenIGTLink edge, LPS everywhere else: the one place that turns one into the other."""

from __future__ import annotations

from guidance.messages import Vector3


def lps_from_ras(xyz_ras_mm: Vector3) -> Vector3:
    """Patient LPS mm from RAS mm: x and y change sign (DICOM PS3.3 C.7.6.2.1.1; 3D Slicer's RAS)."""
    x, y, z = xyz_ras_mm
    return (0.0 - x, 0.0 - y, z)  # a zero keeps its sign


def ras_from_lps(xyz_lps_mm: Vector3) -> Vector3:
    """RAS mm from patient LPS mm; the same sign change."""
    x, y, z = xyz_lps_mm
    return (0.0 - x, 0.0 - y, z)  # a zero keeps its sign
