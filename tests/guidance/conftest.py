"""Property tests of the core: the same examples on every machine, and no time limit on shared ones."""

from hypothesis import settings

settings.register_profile("shared machine", deadline=None, derandomize=True)
settings.load_profile("shared machine")
