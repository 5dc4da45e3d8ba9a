"""What a CBCT series may have lost or caught on its way to the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from pydicom.dataset import Dataset

from drivers.commands.fault_outcome import Group
from drivers.commands.fault_scene import Patient, Received, other_patients_volume, own_cbct, received
from simulators.cbct_objects import CbctRun, cbct_objects
from simulators.volumes import HuVolume


@dataclass(frozen=True, slots=True, eq=False)
class CbctLie:
    """What a server was sent as the CBCT.

    Attributes:
        name: of the lie.
        cbct: what became of it.
        is_anothers: it shows somebody else, or nobody: what is planned in it has no right place in the patient.
        group: `control` where what came is right.
    """

    name: str
    cbct: Received
    is_anothers: bool = False
    group: Group = "volume"


def cbct_lies(patient: Patient, run: CbctRun, *, of_real: bool) -> list[CbctLie]:
    """What a series may have lost or caught on its way; each goes through the assembler's own rules."""
    volume = own_cbct(patient)
    elsewhere = other_patients_volume(of_real)
    stranger = replace(run, patient_id="SIM-0002", patient_name="Somebody^Else")
    return [
        CbctLie("half a series, its count told", received(volume, run, _first_half)),
        CbctLie(
            "half a series, no count told: less is seen, what is seen is right",
            received(volume, run, _uncounted_half),
            group="control",
        ),
        CbctLie("a series with a gap, no count told", received(volume, run, _gap)),
        CbctLie(
            "a series with another patient's slices",
            received(volume, run, partial(_mixed_in, _strangers(volume, stranger, run))),
        ),
        CbctLie("CBCT of another patient, same frame of reference", received(elsewhere, stranger), is_anothers=True),
        CbctLie("CBCT of another patient under this one's name", received(elsewhere, run), is_anothers=True),
        CbctLie("CBCT with its slices in reverse", received(volume, run, _reversed), is_anothers=True),
        CbctLie("CBCT mirrored left to right", received(volume, run, _mirrored), is_anothers=True),
        CbctLie("CBCT with pixels told 10 % too large", received(volume, run, _enlarged), is_anothers=True),
        CbctLie("CBCT in another frame of reference", received(volume, replace(run, seed=7))),
    ]


def _first_half(objects: Sequence[Dataset]) -> Sequence[Dataset]:
    return objects[: len(objects) // 2]


def _uncounted(objects: Sequence[Dataset]) -> Sequence[Dataset]:
    for dataset in objects:
        del dataset.ImagesInAcquisition
    return objects


def _uncounted_half(objects: Sequence[Dataset]) -> Sequence[Dataset]:
    return _uncounted(_first_half(objects))


def _gap(objects: Sequence[Dataset]) -> Sequence[Dataset]:
    third = len(objects) // 3
    return _uncounted([*objects[:third], *objects[2 * third :]])


def _reversed(objects: Sequence[Dataset]) -> Sequence[Dataset]:
    places = [dataset.ImagePositionPatient for dataset in objects]
    for dataset, place in zip(objects, reversed(places), strict=True):
        dataset.ImagePositionPatient = place
    return objects


def _mirrored(objects: Sequence[Dataset]) -> Sequence[Dataset]:
    for dataset in objects:
        pixels = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
        dataset.PixelData = np.ascontiguousarray(pixels[:, ::-1]).tobytes()
    return objects


def _enlarged(objects: Sequence[Dataset]) -> Sequence[Dataset]:
    for dataset in objects:
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        step_mm = float(dataset.PixelSpacing[0])
        # The middle of each slice stays where it is.
        grown_mm = 0.05 * step_mm * (dataset.Columns - 1)
        dataset.ImagePositionPatient = [f"{x - grown_mm:.6g}", f"{y - grown_mm:.6g}", f"{z:.6g}"]
        dataset.PixelSpacing = [f"{1.1 * step_mm:.6g}"] * 2
    return objects


def _strangers(volume: HuVolume, stranger: CbctRun, run: CbctRun) -> list[Dataset]:
    """Another patient's slices that say they are of this series."""
    slices = list(cbct_objects(volume, stranger))
    for dataset in slices:
        dataset.SeriesInstanceUID = run.uid("series", run.kind)
    return slices


def _mixed_in(strangers: Sequence[Dataset], objects: Sequence[Dataset]) -> Sequence[Dataset]:
    third = len(objects) // 3
    return [*objects[:third], *strangers[third : 2 * third], *objects[2 * third :]]
