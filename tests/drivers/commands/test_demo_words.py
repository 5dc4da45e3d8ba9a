"""`guidance demo --volume` takes the words that `guidance simulate --volume` takes."""

from __future__ import annotations

import argparse

from drivers.commands.demo import _patient


def test_procedural_is_a_word_and_not_a_file() -> None:
    parsed = argparse.Namespace(volume="procedural", procedural=False)
    assert _patient(parsed).which == "procedural"
