"""What the registration of two volumes answers, as `guidance register --moving --json` carries it; values only."""

from __future__ import annotations

import msgspec

from guidance.messages import Finding, Vector3
from guidance.registration.answers import Rows, finite, finite_rows, rows_of, vector_of
from guidance.registration.volumes import VolumeRegistration


class VolumeRegistrationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Where a second volume lies in the first; as `RegistrationAnswer`, but for

    Attributes:
        fixed_lps_from_moving_lps: four rows of four; the point x of the moving volume (`--moving`) is the same spot of
            the patient as the point M x of the fixed one (`--volume`).
        residual_mm: median distance by which what both volumes show still lies apart after M.
        pivot_lps_mm: in the fixed volume's frame.
        agreeing: share of bone's 25 mm cubes whose own best place is within 1 mm.
        overlap: share of the compared bone that lies in both volumes.
    """

    accepted: bool
    reason: str
    code: str
    fixed_lps_from_moving_lps: Rows
    residual_mm: float | None
    covariance: Rows | None
    pivot_lps_mm: Vector3
    similarity: float | None
    captured: float | None
    agreeing: float | None
    overlap: float | None
    time_s: float
    findings: tuple[Finding, ...] = ()


def volume_registration_answer(
    registration: VolumeRegistration, time_s: float, findings: tuple[Finding, ...] = ()
) -> VolumeRegistrationAnswer:
    """A registration of two volumes in the same words."""
    estimate = registration.estimate
    return VolumeRegistrationAnswer(
        accepted=registration.accepted,
        reason=registration.reason,
        code=registration.code,
        fixed_lps_from_moving_lps=rows_of(registration.fixed_lps_from_moving_lps),
        residual_mm=finite(registration.residual_mm),
        covariance=finite_rows(estimate.covariance),
        pivot_lps_mm=vector_of(estimate.pivot_lps_mm),
        similarity=finite(registration.similarity),
        captured=finite(registration.captured),
        agreeing=finite(registration.agreeing),
        overlap=finite(registration.overlap),
        time_s=time_s,
        findings=findings,
    )
