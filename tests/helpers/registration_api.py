"""Registration for HTTP's tests: answers what it is told to, and keeps what it was asked."""

from __future__ import annotations

from guidance.case import Author
from guidance.errors import GuidanceError
from guidance.registration.answers import RegistrationAnswer, rows_of
from guidance.registration.request import RegistrationRequest, RegistrationState
from guidance.registration.values import IDENTITY


class FakeRegistrationApi:
    """Satisfies `guidance.ports.RegistrationApi`; tests set its members."""

    def __init__(self) -> None:
        self.asked: list[tuple[RegistrationRequest, Author]] = []
        self.dropped: list[Author] = []
        self.error: GuidanceError | None = None
        self.accepted = True
        self.offered = False
        self.registered = False

    async def register(self, request: RegistrationRequest, *, author: Author) -> RegistrationAnswer:
        self.asked.append((request, author))
        if self.error is not None:
            raise self.error
        self.registered = self.accepted
        return RegistrationAnswer(
            accepted=self.accepted,
            reason="0.3 px left" if self.accepted else "the pictures do not show this volume",
            code="" if self.accepted else "no_match",
            seen_lps_from_volume_lps=rows_of(IDENTITY),
            residual_px=0.3,
            residual_mm=0.1,
            covariance=tuple(tuple(0.01 * (i == j) for j in range(6)) for i in range(6)),
            pivot_lps_mm=(0.0, 0.0, 0.0),
            similarity=0.9,
            captured=1.0,
            time_s=0.5,
        )

    def registration(self) -> RegistrationState:
        return RegistrationState(
            registered=self.registered,
            seen_lps_from_volume_lps=rows_of(IDENTITY),
            covariance=None,
            pivot_lps_mm=None,
            residual_px=0.3 if self.registered else None,
            inputs=("Fluoro",) if self.registered else (),
            epoch=0,
            offered=self.offered,
            running=False,
        )

    def drop(self, *, author: Author) -> None:
        self.dropped.append(author)
        self.registered = False
