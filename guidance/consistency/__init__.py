"""Whether a picture agrees with the geometry that is told for it: measured on every frame, judged over time."""

from guidance.consistency.measure import FrameMeasurer
from guidance.consistency.measurement import Arrangement, Measurement
from guidance.consistency.track import ConsistencyTrack, judged_with_check, observe
from guidance.consistency.volume import WatchVolume, watch_volume

__all__ = [
    "Arrangement",
    "ConsistencyTrack",
    "FrameMeasurer",
    "Measurement",
    "WatchVolume",
    "judged_with_check",
    "observe",
    "watch_volume",
]
