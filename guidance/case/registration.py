"""Where the active volume is seen: what a registration does to the case."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np

from guidance.case.state import Case
from guidance.errors import CaseError
from guidance.messages import AcceptedRegistration

_RIGID: Final = 1e-6


def accept_registration(case: Case, registration: AcceptedRegistration) -> Case:
    """Take an accepted registration over: it holds for the active volume until its epoch ends.

    Raises:
        CaseError: `no_active_volume`, `bad_registration`.
    """
    check_registration(registration)
    if case.active is None:
        raise CaseError(
            "no volume is active, so there is nothing to register",
            code="no_active_volume",
            mend="send a CBCT first, or choose one",
        )
    return replace(case, registration=registration, epoch=case.epoch + 1)


def check_registration(registration: AcceptedRegistration) -> None:
    """Refuse what is no rigid motion with a covariance.

    Raises:
        CaseError: `bad_registration`.
    """
    matrix, covariance = registration.seen_lps_from_volume_lps, registration.covariance
    told = (*matrix, *covariance, *registration.pivot_lps_mm)
    rigid = len(matrix) == 16 and len(covariance) == 36 and all(math.isfinite(number) for number in told)
    if rigid:
        motion = np.array(matrix).reshape(4, 4)
        turn = motion[:3, :3]
        rigid = (
            bool(np.allclose(turn @ turn.T, np.eye(3), atol=_RIGID))
            and float(np.linalg.det(turn)) > 0.0
            and bool(np.array_equal(motion[3], (0.0, 0.0, 0.0, 1.0)))
        )
    if not rigid:
        raise CaseError("the registration is no rigid motion with a covariance", code="bad_registration")


def drop_registration(case: Case) -> Case:
    """Go back to the geometry as it is told; a new epoch, unless there was no registration."""
    if case.registration is None:
        return case
    return replace(case, registration=None, epoch=case.epoch + 1)
