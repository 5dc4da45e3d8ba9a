"""`guidance plan check|corridor|views`: planning without a server, on a volume and zones out of files."""

from __future__ import annotations

import argparse
from typing import Any

from drivers.commands import plan_check, plan_corridor, plan_views


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add `plan` with its sub-commands to the command line."""
    plan = subparsers.add_parser("plan", help="clearance, corridors and views, without a server")
    commands = plan.add_subparsers(dest="plan_command", required=True, metavar="check|corridor|views")
    for room in (plan_check, plan_corridor, plan_views):
        room.register(commands)
