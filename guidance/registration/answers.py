"""What registration answers, as HTTP and `--json` carry it (contract 5.1 and 5.4); values only."""

from __future__ import annotations

import math

import msgspec

from guidance.messages import F64, Finding, Vector3
from guidance.registration.values import Registration

Rows = tuple[tuple[float, ...], ...]


class RegistrationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Where a volume is seen in pictures; null is "not known", and `reason` says why.

    Attributes:
        accepted: whether it may be used; a refusal is an answer, not an error.
        reason: words: why not, or how well.
        code: stable name of the refusal; "" where accepted.
        seen_lps_from_volume_lps: four rows of four; a volume point x is seen where the told geometry puts M x. Where
            refused, the best that was found, for people to look at.
        residual_px: median distance, px of the pictures as sent, that is still left after M.
        residual_mm: the same at the pivot's depth.
        covariance: six rows of six, of a small motion after M: shift x, y, z in mm, then turns about x, y, z in deg,
            about `pivot_lps_mm`.
        pivot_lps_mm: in the frame of M x.
        similarity: agreement of pictures and projections after M, 1 = the same.
        captured: share of perturbed starts that came to the same pose.
        time_s: wall time of the search, files not counted.
        findings: about the files that it was made from.
    """

    accepted: bool
    reason: str
    code: str
    seen_lps_from_volume_lps: Rows
    residual_px: float | None
    residual_mm: float | None
    covariance: Rows | None
    pivot_lps_mm: Vector3
    similarity: float | None
    captured: float | None
    time_s: float
    findings: tuple[Finding, ...] = ()


def registration_answer(
    registration: Registration, time_s: float, findings: tuple[Finding, ...] = ()
) -> RegistrationAnswer:
    """A registration in the contract's words."""
    estimate = registration.estimate
    return RegistrationAnswer(
        accepted=registration.accepted,
        reason=registration.reason,
        code=registration.code,
        seen_lps_from_volume_lps=rows_of(estimate.seen_lps_from_volume_lps),
        residual_px=finite(registration.residual_px),
        residual_mm=finite(registration.residual_mm),
        covariance=finite_rows(estimate.covariance),
        pivot_lps_mm=vector_of(estimate.pivot_lps_mm),
        similarity=finite(registration.similarity),
        captured=finite(registration.captured),
        time_s=time_s,
        findings=findings,
    )


def rows_of(matrix: F64) -> Rows:
    """A matrix as rows of plain numbers."""
    return tuple(tuple(float(value) for value in row) for row in matrix)


def finite_rows(matrix: F64) -> Rows | None:
    """The rows, or None where a value is not finite: a direction that nothing was seen of has no covariance."""
    rows = rows_of(matrix)
    return rows if all(math.isfinite(value) for row in rows for value in row) else None


def finite(value: float | None) -> float | None:
    """The number, or None where it is not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def vector_of(point: F64) -> Vector3:
    """Three plain numbers."""
    x, y, z = (float(value) for value in point)
    return x, y, z
