"""A live session to test with: one volume, one path, frames of the design's golden geometry."""

from __future__ import annotations

from typing import Any

import numpy as np

from guidance.case import Case, create_path, volume_changed
from guidance.messages import CbctVolume, FluoroFrame, VolumeState
from guidance.session import DrawFrame, Effect, Session, step

MS = 1_000_000
SECOND_IGTL = 1 << 32
PATH = {"entry_lps_mm": [50.0, 0.0, 0.0], "target_lps_mm": [0.0, 0.0, 20.0], "diameter_mm": 7.3}
GEOMETRY = {
    "XRay.PrimaryAngleDeg": "0",
    "XRay.SecondaryAngleDeg": "0",
    "XRay.SourceToDetectorMm": "1200",
    "XRay.SourceToIsocenterMm": "750",
    "XRay.ImagerPixelSpacingMm": "0.3 0.3",
    "XRay.IsocenterLpsMm": "0 0 0",
    "XRay.FrameOfReferenceUID": "1.2.3",
}


def ready_volume(**changes: Any) -> CbctVolume:
    """A ready volume of 100 mm about the origin, supine."""
    values: dict[str, Any] = {
        "id": "v1",
        "series_instance_uid": "1.2.3.4",
        "study_instance_uid": "1.2.3.5",
        "patient_id": "P",
        "frame_of_reference_uid": "1.2.3",
        "patient_position": "HFS",
        "state": VolumeState.READY,
        "shape_kji": (100, 100, 100),
        "affine_lps_from_ijk": (1.0, 0, 0, -49.5, 0, 1.0, 0, -49.5, 0, 0, 1.0, -49.5, 0, 0, 0, 1.0),
    }
    return CbctVolume(**(values | changes))


def planned_case(**changes: Any) -> Case:
    """A case with that volume and one path."""
    case, _ = create_path(volume_changed(Case(), ready_volume(**changes)), PATH)
    return case


def stamp(ms: float) -> int:
    """Header timestamp of a sender whose clock is at so many ms."""
    return 1_700_000_000 * SECOND_IGTL + round(ms * SECOND_IGTL / 1000)


def live_frame(number: int, ms: float, **changes: Any) -> FluoroFrame:
    """A frame sent and received at that time; `metadata` None leaves a key out."""
    metadata = GEOMETRY | {"XRay.FrameNumber": str(number)} | changes.pop("metadata", {})
    values: dict[str, Any] = {
        "device": "Fluoro",
        "pixels": np.full((1024, 1024), number % 251, np.uint16),
        "timestamp_igtl": stamp(ms),
        "received_ns": round(ms * MS),
        "metadata": {key: text for key, text in metadata.items() if text is not None},
        "pixels_crc64": number + 1,
        "sequence": number,
        "connection_id": 1,
    }
    return FluoroFrame(**(values | changes))


def after(session: Session, *events: tuple[Any, float]) -> tuple[Session, list[Effect]]:
    """The session after (event, ms) pairs, and the last one's effects."""
    effects: list[Effect] = []
    for event, ms in events:
        session, effects = step(session, event, round(ms * MS))
    return session, effects


def drawn(effects: list[Effect]) -> list[DrawFrame]:
    """What is to be drawn."""
    return [effect for effect in effects if isinstance(effect, DrawFrame)]
