"""Whether a picture's geometry may be drawn on: from what is told to a verdict with its reason in words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from guidance.config import GeometrySettings
from guidance.errors import GeometryError
from guidance.geometry.calibration import CalibrationTable
from guidance.geometry.camera import check_plausible, decomposed, determinant, normalised, project, source_of
from guidance.geometry.metadata import XRayMetadata, read_frame_number, read_metadata
from guidance.geometry.paired import pair_transforms
from guidance.geometry.positioner import positioner_axes
from guidance.geometry.told import ToldGeometry, missing_keys, told_geometry
from guidance.geometry.told_patient import reference_of
from guidance.messages import (
    F64,
    AcceptedRegistration,
    CbctVolume,
    FluoroFrame,
    GeometryState,
    GeometryVerdict,
    TransformSample,
    VolumeState,
)

# Calibrated C-arms differ from what their angles say by well under a degree and a few mm of sag: more than this
# between a matrix and the angles beside it is another pose's matrix.
_AGREEMENT_DEG = 3.0
_AGREEMENT_MM = 5.0
# Calibrated focal lengths differ from the told ones by a few percent; another zoom or binning, by a third and more.
_AGREEMENT_FOCAL = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class _VolumeBox:
    """Middle of the active volume in LPS, and how to tell whether a point lies in it."""

    middle_lps_mm: F64
    ijk_from_lps: F64
    shape_ijk: F64


def judge(
    frame: FluoroFrame,
    *,
    volume: CbctVolume | None,
    settings: GeometrySettings,
    shared_frame_confirmed: bool = False,
    held: bool = False,
    age_ms: float = 0.0,
    transforms: Iterable[TransformSample] = (),
    frame_interval_ms: float = 0.0,
    transform_frame: str = "ras",
    calibration: CalibrationTable | None = None,
    registration: AcceptedRegistration | None = None,
    for_registration: bool = False,
) -> GeometryVerdict:
    """Judge one picture's geometry.

    Args:
        frame: the picture; metadata, size, header pitch, device, connection and timestamps are used, no pixel.
        volume: the active volume; None if there is none.
        settings: limits.
        shared_frame_confirmed: the operator has said that this stream and this volume share a frame of reference
            (the configuration's word is in `settings`).
        held: the caller found that frame number, pulse number or content repeat; `XRay.Live` is read here.
        age_ms: how old the picture is by the server's clock.
        transforms: TRANSFORM messages received so far, newest of each name at least.
        frame_interval_ms: the stream's usual interval, for pairing; 0 if not known yet.
        transform_frame: "ras" or "lps": what "patient" means in the transforms.
        calibration: the suite's table.
        registration: where the active volume is seen.
        for_registration: the pose as told is wanted, whatever frames stream and volume are in; nothing may be drawn
            with it.

    Returns:
        The verdict; never raises for what a stream may send.

    Source: design section 4; contract 5.3.
    """
    try:
        return _judge(
            frame,
            volume,
            settings,
            shared_frame_confirmed or settings.shared_frame_of_reference,
            held,
            age_ms,
            transforms,
            frame_interval_ms,
            transform_frame,
            calibration,
            None if for_registration else registration,
            for_registration,
        )
    except GeometryError as error:
        return GeometryVerdict(state=GeometryState.WITHHELD, reason=str(error), code=error.code)


def _judge(
    frame: FluoroFrame,
    volume: CbctVolume | None,
    settings: GeometrySettings,
    shared_frame: bool,
    held: bool,
    age_ms: float,
    transforms: Iterable[TransformSample],
    frame_interval_ms: float,
    transform_frame: str,
    calibration: CalibrationTable | None,
    registration: AcceptedRegistration | None,
    any_frame: bool,
) -> GeometryVerdict:
    xray = read_metadata(frame.metadata)
    read_frame_number(frame.metadata)
    reference = reference_of(volume)
    missing = [] if xray.projection_matrix is not None else missing_keys(xray, reference)
    paired = None
    if missing:
        paired = pair_transforms(
            transforms,
            frame,
            pairing_ms=settings.transform_pairing_ms or frame_interval_ms / 2.0,
            maximum_age_ms=settings.maximum_age_ms,
        )
        if paired is None and not xray.has_angles:
            return GeometryVerdict(
                state=GeometryState.ABSENT,
                reason=f"the stream tells no {', '.join(missing)}",
                code="no_geometry",
            )
    _check_live(xray, held, age_ms, settings)
    ready = _check_volume(volume)
    if not any_frame:
        _check_same_frame(xray, ready, shared_frame, registration)
    _check_same_position(xray, ready)
    rows, columns = frame.pixels.shape
    told = told_geometry(
        xray,
        rows,
        columns,
        reference=reference,
        transforms=paired,
        pixel_pitch_mm=frame.pixel_pitch_mm,
        transform_frame=transform_frame,
        calibration=calibration,
    )
    if told is None:
        return GeometryVerdict(state=GeometryState.ABSENT, reason="no geometry", code="no_geometry")
    matrix = _checked(told, xray, ready, settings)
    if registration is not None:
        matrix = matrix @ np.array(registration.seen_lps_from_volume_lps).reshape(4, 4)
    flat = tuple(matrix.ravel().tolist())
    if age_ms > settings.degraded_age_ms:
        return GeometryVerdict(
            state=GeometryState.DEGRADED,
            reason=f"picture is {age_ms:.0f} ms old",
            code="ageing",
            pixel_from_patient=flat,
            source=told.source,
            calibration=told.calibration,
        )
    return GeometryVerdict(
        state=GeometryState.TRUSTED, pixel_from_patient=flat, source=told.source, calibration=told.calibration
    )


def _check_live(xray: XRayMetadata, held: bool, age_ms: float, settings: GeometrySettings) -> None:
    # The gantry may move while a picture is held, and then its metadata belong to another place than its pixels.
    if held or xray.live is False:
        raise GeometryError("HELD: the picture is not live", code="held")
    if not age_ms <= settings.maximum_age_ms:
        raise GeometryError(f"STALE: the picture is {age_ms:.0f} ms old", code="stale")


def _check_volume(volume: CbctVolume | None) -> CbctVolume:
    if volume is None or volume.state is not VolumeState.READY or volume.affine_lps_from_ijk is None:
        raise GeometryError("no active volume: nothing says where the patient is", code="no_active_volume")
    return volume


def _check_same_frame(
    xray: XRayMetadata, volume: CbctVolume, shared_frame: bool, registration: AcceptedRegistration | None
) -> None:
    stream_uid, volume_uid = xray.frame_of_reference_uid, volume.frame_of_reference_uid
    if registration is not None:
        # It says where the volume is seen in the frame of the streams that it was made from, and in no other.
        if registration.frame_of_reference_uid != (stream_uid or ""):
            raise GeometryError(
                "the registration was made from a stream in another frame of reference",
                code="frame_of_reference_mismatch",
                mend="register this input too",
            )
    elif stream_uid and volume_uid and stream_uid != volume_uid:
        raise GeometryError(
            f"stream is in another frame of reference ({stream_uid}) than the volume ({volume_uid})",
            code="frame_of_reference_mismatch",
            mend="register, or make the volume of that frame of reference active",
        )
    elif not (stream_uid and volume_uid) and not shared_frame:
        who = "stream names" if not stream_uid else "volume has"
        raise GeometryError(
            f"{who} no frame of reference: not known to be the volume's",
            code="no_frame_of_reference",
            mend="send XRay.FrameOfReferenceUID, or confirm that stream and volume share a frame",
        )


def _check_same_position(xray: XRayMetadata, volume: CbctVolume) -> None:
    if xray.patient_position and volume.patient_position and xray.patient_position != volume.patient_position:
        raise GeometryError(
            f"patient position {xray.patient_position} contradicts the volume's {volume.patient_position}",
            code="patient_position_mismatch",
            mend="correct it at the equipment, or take a new CBCT",
        )


def _checked(told: ToldGeometry, xray: XRayMetadata, volume: CbctVolume, settings: GeometrySettings) -> F64:
    assert volume.affine_lps_from_ijk is not None
    assert volume.shape_kji is not None
    box = _box(volume.affine_lps_from_ijk, volume.shape_kji)
    matrix = told.pixel_from_patient
    if told.source == "metadata_matrix":
        matrix = normalised(matrix, box.middle_lps_mm)
        check_plausible(decomposed(matrix))
    _check_distances(told, matrix, box, settings)
    flip = bool(xray.fov_flip)
    if (determinant(matrix) > 0.0) is not flip:
        raise GeometryError(
            "the projection is mirrored" if not flip else "XRay.FovFlip is 1, but the projection is not flipped",
            code="mirrored_picture",
            mend="rows and columns as seen from the detector, or XRay.FovFlip as the picture is",
        )
    _check_agreement(told, xray, matrix)
    if not np.isfinite(matrix).all():
        raise GeometryError("the projection is not finite", code="not_finite")
    return matrix


def _check_distances(told: ToldGeometry, matrix: F64, box: _VolumeBox, settings: GeometrySettings) -> None:
    distance_mm = told.source_to_detector_mm
    least, most = settings.minimum_source_to_detector_mm, settings.maximum_source_to_detector_mm
    if distance_mm is not None and not least <= distance_mm <= most:
        raise GeometryError(
            f"source to detector {distance_mm:g} mm is not between {least:g} and {most:g} mm",
            code="distance_out_of_range",
            mend="distances are in mm; limits are in the configuration",
        )
    depth_mm = float(matrix[2, :3] @ box.middle_lps_mm + matrix[2, 3])
    if not 0.0 < depth_mm < (most if distance_mm is None else distance_mm):
        raise GeometryError(
            f"the volume's middle is {depth_mm:.0f} mm from the source, not between source and detector",
            code="volume_not_in_beam",
            mend="check the isocentre, the frame of reference and the table",
        )
    i, j, k = (box.ijk_from_lps[:3, :3] @ source_of(matrix) + box.ijk_from_lps[:3, 3]).tolist()
    if all(-0.5 <= index <= size - 0.5 for index, size in zip((i, j, k), box.shape_ijk.tolist(), strict=True)):
        raise GeometryError("the X-ray source lies inside the volume", code="source_inside_volume", mend="check units")


def _check_agreement(told: ToldGeometry, xray: XRayMetadata, matrix: F64) -> None:
    """A matrix, or transforms, and the angles beside it must show the same pose."""
    if told.told_angles_deg is not None:
        toward_detector = -positioner_axes(*told.told_angles_deg)[1]
        cosine = float(toward_detector @ matrix[2, :3])
        if cosine < math.cos(math.radians(_AGREEMENT_DEG)):
            apart_deg = math.degrees(math.acos(max(-1.0, cosine)))
            source = told.source.replace("metadata_", "projection ")
            raise GeometryError(
                f"{source} and angles are {apart_deg:.0f} deg apart",
                code="contradictory_geometry",
                mend="send one of them, or both of the same frame",
            )
    if told.told_camera is not None:
        parts = decomposed(told.told_camera)
        # Points about where the central ray passes the isocentre; px at the detector, told as mm there.
        depth_mm = xray.source_to_isocenter_mm or 0.0
        middle = parts.source_lps_mm + depth_mm * parts.axes[2]
        points = np.vstack((middle, middle + 50.0 * parts.axes[:2]))
        apart_px = np.abs(project(points, matrix) - project(points, told.told_camera))[:, :2]
        apart_mm = float((apart_px * (depth_mm / parts.focal_u_px, depth_mm / parts.focal_v_px)).max())
        if not apart_mm <= _AGREEMENT_MM:
            raise GeometryError(
                f"projection matrix and angle form are {apart_mm:.0f} mm apart at the isocentre",
                code="contradictory_geometry",
                mend="send one of them, or both of the same frame",
            )
    elif told.source == "metadata_matrix" and xray.source_to_detector_mm and xray.imager_pixel_spacing_mm:
        _check_focal_length(
            matrix, xray.source_to_detector_mm, xray.imager_pixel_spacing_mm, xray.fov_rotation_deg or 0
        )


def _check_focal_length(
    matrix: F64, source_to_detector_mm: float, pitch_mm: tuple[float, float], fov_rotation_deg: int
) -> None:
    """A matrix of another zoom or binning than the picture's pitch beside it draws everything too large or small."""
    parts = decomposed(matrix)
    row_mm, column_mm = pitch_mm[::-1] if fov_rotation_deg % 180 else pitch_mm
    for focal_px, pitch in ((parts.focal_u_px, column_mm), (parts.focal_v_px, row_mm)):
        if not abs(focal_px * pitch / source_to_detector_mm - 1.0) <= _AGREEMENT_FOCAL:
            raise GeometryError(
                f"projection matrix has the source {focal_px * pitch:.0f} mm from the detector, told are "
                f"{source_to_detector_mm:.0f} mm",
                code="contradictory_geometry",
                mend="a matrix for the picture's own zoom and pixel pitch",
            )


@lru_cache(maxsize=16)
def _box(affine_lps_from_ijk: tuple[float, ...], shape_kji: tuple[int, int, int]) -> _VolumeBox:
    affine = np.array(affine_lps_from_ijk, dtype=np.float64).reshape(4, 4)
    shape_ijk = np.array(shape_kji[::-1], dtype=np.float64)
    middle: F64 = affine[:3, :3] @ ((shape_ijk - 1.0) / 2.0) + affine[:3, 3]
    return _VolumeBox(middle, np.asarray(np.linalg.inv(affine), dtype=np.float64), shape_ijk)
