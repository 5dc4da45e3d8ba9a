"""The fault script, and what each fault does to a message."""

from __future__ import annotations

import pytest

from guidance.errors import ConfigError
from simulators.faults import Fault, faults_from_toml


def test_a_script_names_frames():
    script = faults_from_toml(
        '[[fault]]\nkind = "hang_up"\nframe = 3\n[[fault]]\nkind = "held"\nframe = 5\ncount = 2\n'
    )
    assert script == {3: Fault.HANG_UP, 5: Fault.HELD, 6: Fault.HELD}
    assert faults_from_toml("") == {}


@pytest.mark.parametrize(
    "text",
    [
        "[[fault",
        "fault = 3",
        "other = 3",
        '[[fault]]\nkind = "gremlin"\nframe = 1',
        '[[fault]]\nkind = "held"',
        '[[fault]]\nkind = "held"\nframe = "one"',
        '[[fault]]\nkind = "held"\nframe = 1\nwhen = 2',
        '[[fault]]\nkind = "held"\nframe = 1\n[[fault]]\nkind = "stale"\nframe = 1',
    ],
)
def test_a_wrong_script_is_refused(text):
    with pytest.raises(ConfigError, match="fault"):
        faults_from_toml(text)
