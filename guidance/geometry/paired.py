"""Geometry form (b): TRANSFORM messages paired with a picture by time, and the projection that they make."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from guidance.errors import GeometryError
from guidance.geometry.detector import check_detector_size
from guidance.messages import F64, FluoroFrame, TransformSample

# Columns of a rigid matrix sent as float32 are unit and perpendicular to about 1e-7; decimal text of 4 digits to 1e-4.
_RIGID_TOLERANCE = 2e-3

_NAMES = frozenset(f"{name}{plane}" for name in ("DetectorToPatient", "SourceToPatient") for plane in ("", "A", "B"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTransforms:
    """The two transforms that belong to one picture.

    Attributes:
        patient_from_detector: (4, 4) as on the wire: x along rows and y along columns of the picture in mm, origin
            at the centre of pixel (0, 0), z towards the source.
        patient_from_source: (4, 4) as on the wire; only its translation is used.
    """

    patient_from_detector: F64
    patient_from_source: F64


def is_geometry(name: str) -> bool:
    """Whether a TRANSFORM of this device name can be part of a picture's geometry; tools and trackers are not."""
    return name in _NAMES


def biplane_suffix(device: str) -> str:
    """ "A" or "B" for `FluoroA` and `FluoroB`, "" for a single plane."""
    return device[-1] if device in ("FluoroA", "FluoroB") else ""


def pair_transforms(
    samples: Iterable[TransformSample],
    frame: FluoroFrame,
    *,
    pairing_ms: float,
    maximum_age_ms: float,
) -> PairedTransforms | None:
    """Find the transforms of a picture among those received so far.

    Args:
        samples: any order, any connection, any name.
        frame: the picture; its connection, timestamp and device (for the biplane suffix) are used.
        pairing_ms: largest difference of the senders' timestamps: the setting, or half a frame interval.
        maximum_age_ms: by the server's clock, how far apart picture and sample may have come, whatever their
            timestamps say; where a timestamp is 0, the latest sample before the picture on the picture's own
            connection is taken.

    Returns:
        The pair, or None where no transform of this input's names was ever sent. Within the limits the picture's
        own connection goes before another, then the nearest in time.

    Raises:
        GeometryError: `transforms_not_paired` where transforms came but none belongs to this picture.

    Source: contract fine print 21.
    """
    suffix = biplane_suffix(frame.device)
    names = (f"DetectorToPatient{suffix}", f"SourceToPatient{suffix}")
    known: dict[str, list[TransformSample]] = {name: [] for name in names}
    for sample in samples:
        if sample.name in known:
            known[sample.name].append(sample)
    if not any(known.values()):
        return None
    found = [_nearest(known[name], frame, pairing_ms, maximum_age_ms) for name in names]
    if found[0] is None or found[1] is None:
        missing = " and ".join(name for name, sample in zip(names, found, strict=True) if sample is None)
        raise GeometryError(
            f"no {missing} belongs to this picture",
            code="transforms_not_paired",
            mend="send both transforms with the picture's timestamp, before the picture",
        )
    return PairedTransforms(patient_from_detector=found[0].matrix, patient_from_source=found[1].matrix)


def projection_of_transforms(
    transforms: PairedTransforms,
    pixel_pitch_mm: tuple[float, float] | None,
    rows: int,
    columns: int,
    *,
    frame: str,
) -> tuple[F64, float]:
    """The projection that two transforms make.

    Args:
        transforms: as on the wire.
        pixel_pitch_mm: (column step, row step) from the IMAGE header's matrix.
        rows, columns: of the picture as sent.
        frame: "ras" or "lps": what "patient" means to the sender.

    Returns:
        (3, 4) pixel_from_patient (LPS, w in mm along the central ray) and the distance source to detector in mm.

    Raises:
        GeometryError: `no_pixel_pitch`, `bad_pixel_spacing`, `not_finite`, `transforms_not_rigid` or
            `source_behind_detector`.
    """
    if pixel_pitch_mm is None or not all(0.0 < pitch < math.inf for pitch in pixel_pitch_mm):
        raise GeometryError(
            "the IMAGE header's matrix has no pixel pitch",
            code="no_pixel_pitch",
            mend="put the pixel pitch in mm at the detector into the IMAGE message's matrix",
        )
    check_detector_size(rows * pixel_pitch_mm[1], columns * pixel_pitch_mm[0])
    detector, source = transforms.patient_from_detector, transforms.patient_from_source
    for name, matrix in (("DetectorToPatient", detector), ("SourceToPatient", source)):
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise GeometryError(f"{name} is not 4 x 4 finite numbers", code="not_finite")
    axes = detector[:3, :3]
    if np.abs(axes.T @ axes - np.eye(3)).max() > _RIGID_TOLERANCE:
        raise GeometryError(
            "DetectorToPatient is not rigid", code="transforms_not_rigid", mend="unit perpendicular axes, in mm"
        )
    sx, sy, sz = (axes.T @ (source[:3, 3] - detector[:3, 3])).tolist()
    if sz <= 1.0:
        raise GeometryError(
            f"the source is {sz:.1f} mm in front of the detector",
            code="source_behind_detector",
            mend="DetectorToPatient's z axis points towards the source",
        )
    # A ray from the source s through x meets the detector's plane z = 0 at s + (x - s) sz / (sz - x_z).
    plane_from_detector = np.array(((sz, 0.0, -sx, 0.0), (0.0, sz, -sy, 0.0), (0.0, 0.0, -1.0, sz)))
    plane_from_detector[0] /= pixel_pitch_mm[0]
    plane_from_detector[1] /= pixel_pitch_mm[1]
    detector_from_patient = np.eye(4)
    detector_from_patient[:3, :3] = axes.T
    detector_from_patient[:3, 3] = -axes.T @ detector[:3, 3]
    matrix = plane_from_detector @ detector_from_patient
    if frame == "ras":
        matrix[:, :2] *= -1.0  # RAS = (-1, -1, 1) LPS
    return matrix, sz


def _nearest(
    samples: list[TransformSample], frame: FluoroFrame, pairing_ms: float, maximum_age_ms: float
) -> TransformSample | None:
    best: TransformSample | None = None
    best_rank = (True, math.inf)
    for sample in samples:
        other = sample.connection_id != frame.connection_id
        # A clock that stands, or begins anew, gives the stamps of now to what was long ago.
        if abs(frame.received_ns - sample.received_ns) / 1e6 > maximum_age_ms:
            continue
        if frame.timestamp_igtl and sample.timestamp_igtl:
            distance_ms = abs(_ms(sample.timestamp_igtl - frame.timestamp_igtl))
            limit_ms = pairing_ms
        else:
            if other or sample.received_ns > frame.received_ns:
                continue
            distance_ms = (frame.received_ns - sample.received_ns) / 1e6
            limit_ms = maximum_age_ms
        if distance_ms <= limit_ms and (other, distance_ms) <= best_rank:
            best, best_rank = sample, (other, distance_ms)
    return best


def _ms(fixed_point_32_32: int) -> float:
    return fixed_point_32_32 * 1000.0 / 2.0**32
