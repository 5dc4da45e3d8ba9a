"""The simulated CBCT modality: makes a CBCT-like volume and sends it through a real association, or writes it down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pynetdicom import AE
from pynetdicom.association import Association

from guidance.errors import WireError
from guidance.messages import F64
from guidance.wire.dicom_classes import CT_IMAGE, ENHANCED_CT, EXPLICIT_VR_LITTLE_ENDIAN, XRAY_3D_ANGIOGRAPHIC
from simulators.cbct_objects import CbctRun, cbct_objects, object_count
from simulators.volumes import HuVolume, resampled

Progress = Callable[[str, int, int], None]
"""(what, done, of all)."""

DEFAULT_FIELD_MM: Final = (220.0, 220.0, 170.0)
_STORED_STATUS: Final = 0x0000
_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomPeer:
    """Where to send, and under which names."""

    host: str = "127.0.0.1"
    port: int = 11112
    called_ae_title: str = "GUIDANCE"
    calling_ae_title: str = "CARM1"


def cbct_volume(
    volume: HuVolume,
    *,
    spacing_mm: float = 0.5,
    center_lps_mm: F64 | None = None,
    field_mm: tuple[float, float, float] = DEFAULT_FIELD_MM,
) -> HuVolume:
    """What a C-arm would make of the patient: a limited field of view on a fine grid; nothing is added to the anatomy.

    Args:
        spacing_mm: of the grid; the description says what it was resampled from.
        center_lps_mm: middle of the field; None: the volume's middle.
        field_mm: along x, y, z.
    """
    center = volume.center_lps_mm if center_lps_mm is None else np.asarray(center_lps_mm)
    return resampled(volume, spacing_mm=spacing_mm, center_lps_mm=center, size_mm=field_mm)


def send_cbct(volume: HuVolume, run: CbctRun, peer: DicomPeer, progress: Progress | None = None) -> int:
    """Send every object over one association; returns how many were stored.

    Raises:
        WireError: `association_refused`, `association_lost` or `not_stored`, naming the peer and its answer.
    """
    entity = AE(ae_title=peer.calling_ae_title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = _TIMEOUT_S
    for sop_class in (CT_IMAGE, ENHANCED_CT, XRAY_3D_ANGIOGRAPHIC):
        entity.add_requested_context(sop_class, EXPLICIT_VR_LITTLE_ENDIAN)
    association: Association = entity.associate(peer.host, peer.port, ae_title=peer.called_ae_title)
    if not association.is_established:
        raise WireError(
            f"{peer.called_ae_title} at {peer.host}:{peer.port} takes no association",
            code="association_refused",
            mend="start the server first, and check host, port and AE titles",
        )
    total = object_count(volume, run)
    try:
        for number, dataset in enumerate(cbct_objects(volume, run), start=1):
            status = association.send_c_store(dataset)
            if "Status" not in status:
                raise WireError(
                    f"{peer.called_ae_title} went away after {number - 1} of {total} objects",
                    code="association_lost",
                    mend="send again",
                )
            if status.Status != _STORED_STATUS:
                raise WireError(
                    f"{peer.called_ae_title} does not store object {number}: status {status.Status:04X}",
                    code="not_stored",
                    mend="see the server's log",
                )
            if progress:
                progress("sending", number, total)
    finally:
        if association.is_established:
            association.release()
    return total


def write_cbct(volume: HuVolume, run: CbctRun, folder: Path, progress: Progress | None = None) -> int:
    """Write every object as a file; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    total = object_count(volume, run)
    for number, dataset in enumerate(cbct_objects(volume, run), start=1):
        dataset.save_as(folder / f"{run.kind}_{number:04d}.dcm", enforce_file_format=True)
        if progress:
            progress("writing", number, total)
    return total
