"""A volume's voxels in shared memory, as planning sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import numpy as np

from drivers.dicom_memory import I16, open_volume
from guidance.errors import CaseError
from guidance.messages import CbctVolume
from guidance.planning.volume import HuProbe, PlanningVolume


@contextmanager
def probe_of(volume: CbctVolume | None) -> Iterator[HuProbe | None]:
    """Look into a volume's voxels; None without a volume, or where its block was replaced."""
    with ExitStack() as stack:
        probe = None
        if volume is not None and volume.affine_lps_from_ijk is not None:
            with suppress(CaseError):
                probe = HuProbe(planned_volume(volume, stack.enter_context(open_volume(volume))))
        try:
            yield probe
        finally:
            if probe is not None:
                probe.close()


def planned_volume(volume: CbctVolume, voxels_hu: I16) -> PlanningVolume:
    """A ready volume with its voxels; one without a Frame of Reference is in a frame of its own."""
    return PlanningVolume(
        voxels_hu=voxels_hu,
        affine_lps_from_ijk=np.array(volume.affine_lps_from_ijk, np.float64).reshape(4, 4),
        frame_of_reference_uid=volume.frame_of_reference_uid or volume.series_instance_uid,
        patient_position=volume.patient_position,
    )
