"""`python -m drivers.planning_process`: plans in a process of its own; stdin in, stdout out, in three lanes."""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from drivers.planning_desk import PlanningDesk
from drivers.planning_messages import (
    LARGEST_FRAME_BYTES,
    LENGTH,
    Answer,
    Ask,
    Failed,
    Forget,
    Ping,
    Pong,
    Told,
    decode_ask,
    decode_start,
    frame_of,
    lane_of,
)
from guidance.case import BadFieldsError
from guidance.errors import CaseError, ConfigError, GeometryError, GuidanceError, WireError

_NICENESS: Final = 5  # the live process goes first where both want a core
_LONG_NICENESS: Final = 15  # and a drag before a search
_OUT_OF_MEMORY_SCORE: Final = "700"  # where memory ends, Linux shall end this process and never the live one


class _Teller:
    """Writes answers from any thread, each whole."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def tell(self, told: Told) -> None:
        with self._lock:
            rest = memoryview(frame_of(told))
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]


def main() -> int:
    """Answer until stdin ends."""
    # Whatever prints goes to stderr; stdout carries answers only.
    descriptor = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.nice(_NICENESS)
    with suppress(OSError):  # there is none but on Linux
        Path("/proc/self/oom_score_adj").write_text(_OUT_OF_MEMORY_SCORE)
    warnings.simplefilter("ignore")  # odd values in files are findings, never lines on stderr
    source = sys.stdin.buffer
    first = _frame(source)
    if first is None:
        return 0
    start = decode_start(first)
    desk = PlanningDesk(start.settings, Path(start.data_dir))
    teller = _Teller(descriptor)
    forgotten: set[int] = set()
    lanes = {
        name: _lane(name, desk.answer, teller, forgotten, niceness=niceness)
        for name, niceness in (("quick", _NICENESS), ("pose", _NICENESS), ("long", _LONG_NICENESS))
    }
    while (frame := _frame(source)) is not None:
        ask = decode_ask(frame)
        match ask.question:
            case Ping():
                teller.tell(Told(ask.number, Pong()))
            case Forget():
                forgotten.add(ask.number)
            case question:
                lanes[lane_of(question)].put(ask)
    return 0


def _lane(
    name: str, answer: Callable[..., Answer], teller: _Teller, forgotten: set[int], *, niceness: int
) -> queue.SimpleQueue[Ask]:
    # Unbounded here: whoever asks keeps count of what is unanswered (`PlanningProcess`).
    waiting: queue.SimpleQueue[Ask] = queue.SimpleQueue()

    def run() -> None:
        if sys.platform == "linux":  # where a thread has a niceness of its own; those it starts inherit it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
            if niceness == _LONG_NICENESS:
                _leave_a_core()
        while True:
            ask = waiting.get()
            if ask.number not in forgotten:
                teller.tell(Told(ask.number, _answered(answer, ask)))
            forgotten.discard(ask.number)

    threading.Thread(target=run, name=f"planning-{name}", daemon=True).start()
    return waiting


def _leave_a_core() -> None:
    """Keep the calling thread, and those it starts, off one core: seconds of work must not delay pictures of 3 ms."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, cores[1:])


def _answered(answer: Callable[..., Answer], ask: Ask) -> Answer:
    try:
        return answer(ask.question)
    except GuidanceError as error:
        return _failed(error)
    except Exception:
        # A fault of ours on one question must not end the answers to the others.
        print(traceback.format_exc(), file=sys.stderr, flush=True)
        what = type(ask.question).__name__.removesuffix("Question").lower()
        return Failed(
            kind="CaseError", message=f"{what} failed by a bug of ours", code="planning_bug", mend="see the log"
        )


def _failed(error: GuidanceError) -> Failed:
    message = str(error.args[0])
    if isinstance(error, BadFieldsError):
        fields = tuple((fault.field, fault.message) for fault in error.errors)
        return Failed(
            kind="BadFieldsError", message=message, code=error.code, mend=error.mend, fields=fields, what=error.what
        )
    match error:
        case GeometryError():
            return Failed(kind="GeometryError", message=message, code=error.code, mend=error.mend)
        case WireError():
            return Failed(kind="WireError", message=message, code=error.code, mend=error.mend)
        case ConfigError():
            return Failed(kind="ConfigError", message=message, code=error.code, mend=error.mend)
        case _:
            assert isinstance(error, CaseError)
            return Failed(kind="CaseError", message=message, code=error.code, mend=error.mend)


def _frame(source: BinaryIO) -> bytes | None:
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    if length > LARGEST_FRAME_BYTES:
        raise RuntimeError(f"a question of {length} bytes")
    body = source.read(length)
    return body if len(body) == length else None


if __name__ == "__main__":
    # The lanes may be in the middle of seconds of work that nobody waits for any more.
    os._exit(main())
