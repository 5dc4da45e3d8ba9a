"""Metadata of the pictures that go out for a frame (contract 5.3 and its fine print)."""

from __future__ import annotations

from guidance.cement.progress import CementProgress
from guidance.clock import ns_from_igtl
from guidance.session import InputTrack


def picture_metadata(track: InputTrack, latency_ms: float) -> dict[str, str]:
    """The texts of every picture made from a frame; each key is always there, unknown is empty.

    Args:
        track: the input with the frame that the picture is of.
        latency_ms: from the frame's last byte in to now.
    """
    frame, check = track.frame, track.verdict.check
    return {
        "XRay.FrameNumber": "" if track.frame_number is None else str(track.frame_number),
        "XRay.TimestampNs": str(ns_from_igtl(frame.timestamp_igtl) if frame else 0),
        "Guidance.Input": track.device,
        "Guidance.LatencyMs": f"{latency_ms:.3f}",
        "Guidance.GeometryState": track.verdict.state.value,
        "Guidance.Reason": track.verdict.reason,
        "Guidance.ResidualPx": _number(check.residual_px),
        "Guidance.ResidualMm": _number(check.residual_mm),
        "Guidance.ImageCheck": check.state.value,
        "Guidance.Epoch": str(track.epoch),
    }


def thickness_metadata(track: InputTrack, latency_ms: float, known: CementProgress) -> dict[str, str]:
    """The texts of IMAGE `CementThickness`: those of every picture, and what is known of the cement with it.

    Args:
        track: the input with the frame that the map is of.
        latency_ms: from the frame's last byte in to now.
        known: what is known of cement after that frame.
    """
    body = known.body
    return picture_metadata(track, latency_ms) | {
        "Guidance.CementState": known.state.value,
        "Guidance.CementReason": known.reason,
        "Guidance.CementAreaMm2": _number(known.area_mm2),
        "Guidance.CementVolumeMl": _number(body.volume_ml),
        "Guidance.CementVolumeLowMl": _number(body.volume_low_ml),
        "Guidance.CementVolumeHighMl": _number(body.volume_high_ml),
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
