"""A case on disk: pictures with what is told of them, the CT from before, and beside them the truth of each frame."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final

import numpy as np

from simulators.cbct import write_cbct
from simulators.cbct_objects import CbctRun
from simulators.cement.case import CementCase
from simulators.cement.cases import grown, imaging_of, patient, shots_of
from simulators.cement.grown import GrownCement
from simulators.cement.imaging import CementPicture
from simulators.volumes import resampled

FIELD_MM: Final = (230.0, 230.0, 170.0)  # of the cone-beam CT
SPACING_MM: Final = 1.0

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFiles:
    """What was written.

    Attributes:
        frames: pictures after the start, of all inputs.
        reference: pictures before it.
        inputs: names of the inputs.
        volume_ml: cement in the patient at the last frame.
        contacts: zone -> first contact, s since the start.
    """

    frames: int
    reference: int
    inputs: tuple[str, ...]
    volume_ml: float
    contacts: dict[str, float]


def write_case(case: CementCase, folder: Path, progress: Progress = lambda *_: None) -> CaseFiles:
    """Take all pictures of a case and write them down with their truth.

    In the folder: `<input>/reference/` and `<input>/frames/` (NPY, uint16), `<input>/geometry.json` (what a stream
    would tell, for `guidance cement --geometry`), `cbct/` (CT Image objects of the patient before), `zones.json` and
    `paths.json` (bodies of POST /zones and /paths), and `truth/`: `truth.json`, `thickness/<input>/` (NPZ, float32 mm
    along the rays, of the frame of that name) and `growth.npz` (`arrival_s[k, j, i]`: the mask in 3D of a time t is
    `arrival_s <= t`; `capacity`, `site_of`, `affine_lps_from_ijk`).

    Args:
        case: which.
        folder: is made; what is there already is written over.
        progress: is told of what, how many of how many.
    """
    made = grown(case)
    volume = patient(case)
    run = CbctRun(seed=case.seed, kind="ct", patient_position="HFP")
    field = resampled(volume, spacing_mm=SPACING_MM, center_lps_mm=volume.center_lps_mm, size_mm=FIELD_MM)
    write_cbct(field, run, folder / "cbct", progress)
    _write(folder / "zones.json", list(made.zone_bodies))
    ends = [(path.entry_lps_mm, path.target_lps_mm, path.diameter_mm, path.label) for path in made.paths]
    names = ("entry_lps_mm", "target_lps_mm", "diameter_mm", "label")
    _write(folder / "paths.json", [dict(zip(names, one, strict=True)) for one in ends])
    imaging, shots = imaging_of(case, made, volume), shots_of(case)
    told: dict[str, dict[str, list[dict[str, Any]]]] = {}
    truths: list[dict[str, Any]] = []
    for number, shot in enumerate(shots, 1):
        picture = imaging.picture(shot.view_index, shot.t_s, shot.frame_index)
        kind = "reference" if shot.t_s < 0.0 else "frames"
        entries = told.setdefault(picture.device, {"reference": [], "frames": []})[kind]
        name = f"{len(entries):05d}"
        _save(folder / picture.device / kind / f"{name}.npy", picture.pixels)
        metadata = {**picture.metadata, "XRay.FrameOfReferenceUID": run.frame_of_reference_uid}
        entries.append({"file": f"{name}.npy", "geometry": {key: text for key, text in metadata.items() if text}})
        if kind == "frames":
            entries[-1]["time_s"] = shot.t_s
            thickness = folder / "truth" / "thickness" / picture.device / f"{name}.npz"
            thickness.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(thickness, thickness_mm=picture.thickness_mm)
            truths.append({"input": picture.device, "file": f"{name}.npy", **_truth(made, picture)})
        progress("pictures", number, len(shots))
    for device, kinds in told.items():
        _write(folder / device / "geometry.json", {"name": device, **kinds})
    contacts = {
        zone_id: round(truth.contact_s, 4)
        for zone_id, truth in made.zone_truth.items()
        if truth.contact_s <= case.duration_s
    }
    _write(folder / "truth" / "truth.json", _whole(case, made, contacts, truths))
    np.savez_compressed(
        folder / "truth" / "growth.npz",
        arrival_s=made.arrival_s,
        capacity=made.capacity,
        site_of=made.site_of,
        affine_lps_from_ijk=made.affine_lps_from_ijk,
    )
    return CaseFiles(
        frames=len(truths),
        reference=len(shots) - len(truths),
        inputs=tuple(told),
        volume_ml=truths[-1]["volume_ml"] if truths else 0.0,
        contacts=contacts,
    )


def _truth(made: GrownCement, picture: CementPicture) -> dict[str, Any]:
    """Of one frame."""
    distances = {zone_id: made.zone_distance_mm(zone_id, picture.t_s) for zone_id in made.zone_truth}
    return {
        "t_s": picture.t_s,
        "volume_ml": picture.volume_ml,
        "site_ml": made.site_ml(picture.t_s),
        "zone_distance_mm": {name: mm if isfinite(mm) else None for name, mm in distances.items()},
        "pixel_from_patient": np.asarray(picture.pixel_from_patient, np.float64).ravel().tolist(),
        "kvp": picture.kvp,
        "exposure": picture.exposure,
        "scatter_share": float(np.median(picture.scatter_share)),
    }


def _whole(
    case: CementCase, made: GrownCement, contacts: dict[str, float], truths: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    leaks = [
        {
            "kind": leak.kind,
            "zone_id": leak.zone_id or None,
            "onset_s": leak.onset_s if isfinite(leak.onset_s) else None,
            "tenth_ml_s": leak.tenth_ml_s if isfinite(leak.tenth_ml_s) else None,
        }
        for leak in made.leaks
    ]
    return {
        "case": asdict(case),
        "brand": made.brand,
        "zones": [{"id": zone.id, "name": zone.name, "site": zone.site.value} for zone in made.zones],
        "site_names": list(made.site_names),
        "first_contact_s": contacts,
        "leaks": leaks,
        "frames": list(truths),
    }


def _save(path: Path, values: np.ndarray[Any, np.dtype[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values, allow_pickle=False)


def _write(path: Path, told: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1, default=float) + "\n", encoding="utf-8")
