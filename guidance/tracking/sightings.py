"""Instruments seen from several directions, one after the other or at once: kept until they can be put together."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from guidance.messages import PlannedPath
from guidance.tracking.place import LEAST_ANGLE_DEG, instrument_3d
from guidance.tracking.values import InstrumentView, PlacedInstrument

# Both planes of a biplane system expose within one frame interval of the slowest stream.
TOGETHER_NS: Final = 400_000_000
# A single C-arm is turned within that; what moved meanwhile shows in how the views contradict each other.
KEPT_NS: Final = 120_000_000_000
_OTHER_POSE_DEG: Final = 20.0
_MOST_KEPT: Final = 4  # poses of each path and input
_MOVED_PX: Final = 0.5  # a tip that has moved less than that in the picture needs no new working out
_AGAIN_NS: Final = 500_000_000
_ALL_EVERY: Final = 4  # frames


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sighting:
    """One instrument in one picture.

    Attributes:
        device: the input.
        view: what was found, with its geometry.
        received_ns: when the picture came, monotonic.
    """

    device: str
    view: InstrumentView
    received_ns: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sightings:
    """What is kept of one path's instrument.

    Attributes:
        path: the plan that it was looked for along; another plan begins anew.
        kept: the newest of each input and pose, oldest first.
        placed: what they gave when they were put together last; None before.
        placed_ns: when, and `placed_from`: the sightings it was made from.
    """

    path: PlannedPath
    kept: tuple[Sighting, ...] = ()
    placed: PlacedInstrument | None = None
    placed_ns: int = 0
    placed_from: tuple[Sighting, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundInstrument:
    """What one frame says of one path's instrument.

    Attributes:
        view: as it is seen in this frame.
        placed: where it is in the patient, together with what other views saw; None with one view, or where refused.
        contradiction: words, where another view of the same moment shows something else; "" where none does.
    """

    view: InstrumentView
    placed: PlacedInstrument | None = None
    contradiction: str = ""


def found_instrument(after: Sightings, view: InstrumentView) -> FoundInstrument:
    """What a frame says, given all that was seen up to it.

    Views one after the other contradict each other as soon as the instrument is moved on: that is no finding. Views of
    the same moment must not.
    """
    placed = after.placed
    if placed is None or placed.accepted:
        return FoundInstrument(view=view, placed=placed)
    times = [each.received_ns for each in after.placed_from]
    together = max(times) - min(times) <= TOGETHER_NS and placed.code == "views_contradict"
    return FoundInstrument(view=view, contradiction=placed.reason if together else "")


def looks_around(turn: int) -> bool:
    """Whether all paths are searched in one frame: in every fourth.

    A search costs more than half a millisecond a path, and what is pushed in takes seconds: it can wait until the frame
    is shown.

    Args:
        turn: counts frames.
    """
    return turn % _ALL_EVERY == 0


def known_paths(paths: Sequence[PlannedPath], seen_ids: Collection[str]) -> tuple[PlannedPath, ...]:
    """Along which paths each frame is searched: where instruments are seen already.

    It is always all of them at once or those that were told apart before: else an instrument would be taken for its
    neighbour's.

    Args:
        paths: the plan.
        seen_ids: of the paths along which an instrument was seen last.
    """
    return tuple(path for path in paths if path.id in seen_ids)


def sighted(before: Sightings, sighting: Sighting) -> Sightings:
    """Take a sighting in, and put together what belongs together.

    What another input saw at the same time goes first; else what was seen from another direction before, as long as
    the views agree: an instrument that was moved in between is refused by its own contradiction, unless it was moved
    within the plane of both sources and itself, which no two views can tell. The words say how far apart they were.

    Args:
        before: of the same path.
        sighting: the newest.
    """
    kept = [
        other
        for other in before.kept
        if sighting.received_ns - other.received_ns <= KEPT_NS
        and (other.device != sighting.device or _apart_deg(other, sighting) > _OTHER_POSE_DEG)
    ]
    own = [other for other in kept if other.device == sighting.device]
    if len(own) >= _MOST_KEPT:
        kept.remove(own[0])
    partners = [other for other in kept if _apart_deg(other, sighting) >= LEAST_ANGLE_DEG]
    together = [other for other in partners if sighting.received_ns - other.received_ns <= TOGETHER_NS]
    chosen = together[-1:] or partners[-1:]
    everything = (*kept, sighting)
    if not chosen:
        return Sightings(path=before.path, kept=everything)
    used = tuple(sorted((chosen[0], sighting), key=lambda each: (each.device, each.received_ns)))
    if before.placed is not None and _as_before(before, used):
        return Sightings(
            path=before.path,
            kept=everything,
            placed=before.placed,
            placed_ns=before.placed_ns,
            placed_from=before.placed_from,
        )
    placed = instrument_3d([other.view for other in used])
    apart_s = (sighting.received_ns - chosen[0].received_ns) / 1e9
    if placed.accepted and not together:
        placed = replace(placed, reason=f"{placed.reason}, {apart_s:.0f} s apart: if it has not moved since")
    return Sightings(path=before.path, kept=everything, placed=placed, placed_ns=sighting.received_ns, placed_from=used)


def _as_before(before: Sightings, used: Sequence[Sighting]) -> bool:
    """Whether putting the same views together again would give the same."""
    newest_ns = max(each.received_ns for each in used)
    if len(before.placed_from) != len(used) or newest_ns - before.placed_ns > _AGAIN_NS:
        return False
    return all(_same_place(old, new) for old, new in zip(before.placed_from, used, strict=True))


def _same_place(old: Sighting, new: Sighting) -> bool:
    if old is new:
        return True
    if (old.view.pixel_from_patient != new.view.pixel_from_patient).any() or old.device != new.device:
        return False
    tip, other = old.view.seen.tip_px, new.view.seen.tip_px
    if tip is None or other is None:
        return tip is other
    return math.dist(tip, other) <= _MOVED_PX


def _apart_deg(one: Sighting, other: Sighting) -> float:
    cosine = float(one.view.pixel_from_patient[2, :3] @ other.view.pixel_from_patient[2, :3])
    return math.degrees(math.acos(min(1.0, max(-1.0, abs(cosine)))))
