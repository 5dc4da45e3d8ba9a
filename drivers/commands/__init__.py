"""One room per command of `guidance`; each has `register(subparsers)` and sets `run(arguments) -> int`."""
