"""How a path comes along: planned, placed, verified, screw in, cemented; which steps there are, forth and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from guidance.errors import CaseError
from guidance.messages import PathStage

# Forth: one step at a time, for nothing may be cemented or screwed in that was not verified; a needle is cemented
# through without a screw. Back: what is pulled out again. Cement cannot be taken back.
_STEPS: Final[Mapping[PathStage, tuple[PathStage, ...]]] = {
    PathStage.PLANNED: (PathStage.PLACED,),
    PathStage.PLACED: (PathStage.VERIFIED, PathStage.PLANNED),
    PathStage.VERIFIED: (PathStage.SCREW_IN, PathStage.CEMENTED, PathStage.PLACED, PathStage.PLANNED),
    PathStage.SCREW_IN: (PathStage.CEMENTED, PathStage.VERIFIED, PathStage.PLANNED),
    PathStage.CEMENTED: (),
}


def next_stages(stage: PathStage) -> tuple[PathStage, ...]:
    """The stages that can follow, the way forth first."""
    return _STEPS[stage]


def check_step(path_id: str, stage: PathStage, wanted: PathStage) -> None:
    """Refuse a step that there is not; to stay is allowed.

    Raises:
        CaseError: `no_such_step`.
    """
    steps = _STEPS[stage]
    if wanted is stage or wanted in steps:
        return
    mend = (
        f"from {stage.value} it can become {', '.join(steps)}"
        if steps
        else "cement cannot be taken back; undo a slip with POST /api/v1/undo"
    )
    raise CaseError(f"path {path_id} is {stage.value} and cannot become {wanted.value}", code="no_such_step", mend=mend)


def is_in_patient(stage: PathStage) -> bool:
    """Whether an instrument lies where the path is: then the path cannot be moved, for the instrument does not."""
    return stage is not PathStage.PLANNED
