"""What `guidance bench instruments` looks at: instruments at known places in two pelves, any pose, dose and bend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from drivers.commands.demo_volume import FetchError, Progress, find_or_fetch_pelvis
from guidance.kernels.drr import ProjectionVolume, cone_projection
from guidance.messages import F64, U8, PlannedPath, Vector3
from guidance.tracking.known_metal import KnownMetal, known_metal_of
from simulators.demo_paths import demo_paths
from simulators.gantry import Gantry
from simulators.instruments import Cylinder, add_chords, voxelise
from simulators.pelvis import ProceduralPelvis
from simulators.scene import MATERIALS, TISSUE_CURVES, Exposure, expose
from simulators.volumes import HuVolume, load_nifti
from simulators.xray import density_g_cm3

F32 = npt.NDArray[np.float32]
U16 = npt.NDArray[np.uint16]

_SPACING_MM: Final = 1.5
_SEGMENTS: Final = 16  # straight pieces of a bent instrument: a chord misses its parabola by 0.02 mm at 5 mm of bend
_CM_PER_MM: Final = 0.1
_BOX_MARGIN_PX: Final = 4
_LENGTH_MM: Final = 280.0  # it sticks out of the skin however deep it is
# An old screw beside the S1 path, and an old nail: what a patient who was here before has in the field.
_OLD_METAL: Final = (((60.0, 26.0, 6.0), (2.0, 4.0, 10.0), 6.5), ((48.0, 32.0, -12.0), (6.0, 6.0, -6.0), 5.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One sort of instrument."""

    name: str
    diameter_mm: float
    bore_mm: float = 0.0
    material: str = "stainless_steel"


KINDS: Final = (
    Kind(name="K-wire 1.6 steel", diameter_mm=1.6),
    Kind(name="K-wire 2.0 titanium", diameter_mm=2.0, material="titanium"),
    Kind(name="needle 13G", diameter_mm=2.413, bore_mm=1.803),
    Kind(name="guidepin 2.8 steel", diameter_mm=2.8),
    Kind(name="needle 11G", diameter_mm=3.048, bore_mm=2.388),
    Kind(name="pin 5.0 steel", diameter_mm=5.0),
    Kind(name="screw 7.3 titanium", diameter_mm=7.3, bore_mm=2.9, material="titanium"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An instrument where it truly is: a parabola that ends at the tip.

    Attributes:
        tip_lps_mm, axis: at the tip; the axis from hub to tip.
        side: unit vector that it bends to.
        bend_mm: how far its middle lies off the chord.
    """

    kind: Kind
    tip_lps_mm: Vector3
    axis: Vector3
    side: Vector3
    length_mm: float
    bend_mm: float

    def cylinders(self) -> tuple[Cylinder, ...]:
        """What it is made of."""
        pieces = 1 if self.bend_mm == 0.0 else _SEGMENTS
        back = np.linspace(0.0, self.length_mm, pieces + 1)[:, None]
        bow = 4.0 * self.bend_mm / self.length_mm**2 * back * back
        points = np.array(self.tip_lps_mm) - back * np.array(self.axis) + bow * np.array(self.side)
        return tuple(
            Cylinder(
                start_lps_mm=_vector(points[n + 1]),
                end_lps_mm=_vector(points[n]),
                diameter_mm=self.kind.diameter_mm,
                bore_mm=self.kind.bore_mm,
                material=self.kind.material,
            )
            for n in range(pieces)
        )


class Patient:
    """A volume with paths; what the beam passes through is kept per pose, so that an instrument costs little.

    Attributes:
        name: for people.
        paths: planned.
        metal: what the CBCT's own voxels show of metal.
    """

    def __init__(self, name: str, volume: HuVolume, paths: Sequence[PlannedPath]) -> None:
        self.name = name
        self.volume = volume
        self.paths = tuple(paths)
        self.metal: KnownMetal = known_metal_of(volume.voxels_hu, volume.affine_lps_from_ijk)
        self._projection = ProjectionVolume(volume.voxels_hu, volume.affine_lps_from_ijk)
        self._seen: dict[tuple[float, ...], tuple[F32, dict[str, F32]]] = {}

    def picture(self, gantry: Gantry, instruments: Sequence[Placed], exposure: Exposure, seed: int) -> U16:
        """One picture with Poisson's noise."""
        transmission = self._transmission(gantry, instruments, exposure)
        rng = np.random.default_rng(seed)
        level = expose(transmission, exposure, 1.0).level
        gain = exposure.level / exposure.dose_photons
        photons = rng.poisson(level.astype(np.float32) * np.float32(1.0 / gain))
        signal = photons * np.float32(gain)
        signal += np.float32(exposure.electronic_noise) * rng.standard_normal(signal.shape, np.float32)
        picture: U16 = np.clip(np.rint(signal), 0, 65535).astype(np.uint16)
        return picture

    def _transmission(self, gantry: Gantry, instruments: Sequence[Placed], exposure: Exposure) -> F32:
        matrix = gantry.pixel_from_patient()
        key = (*matrix.ravel().tolist(), *gantry.size, exposure.kvp)
        if key not in self._seen:
            paths = cone_projection(self._projection, matrix, gantry.size, TISSUE_CURVES, threads=2)
            layers = {name: paths[n] * np.float32(_CM_PER_MM) for n, name in enumerate(MATERIALS)}
            self._seen[key] = exposure.beam.transmission(layers), layers
        empty, tissue = self._seen[key]
        cylinders = [cylinder for placed in instruments for cylinder in placed.cylinders()]
        if not cylinders:
            return empty
        whole = empty.copy()
        box = _box(cylinders, matrix, gantry.size)
        layers = {name: layer[box].copy() for name, layer in tissue.items()}
        moved = matrix.copy()  # the box's own first pixel at (0, 0)
        moved[0] -= box[1].start * matrix[2]
        moved[1] -= box[0].start * matrix[2]
        thickness = {cylinder.material: np.zeros_like(layers["soft_tissue"]) for cylinder in cylinders}
        for cylinder in cylinders:
            add_chords(cylinder, moved, thickness[cylinder.material])
        for material, chord_mm in thickness.items():
            dense = chord_mm * np.float32(density_g_cm3(material) * _CM_PER_MM)
            layers[material] = layers[material] + dense if material in layers else dense
            layers["soft_tissue"] -= np.minimum(chord_mm * np.float32(_CM_PER_MM), layers["soft_tissue"])
        whole[box] = exposure.beam.transmission(layers)
        return whole


def patients(progress: Progress | None = None) -> tuple[Patient, ...]:
    """The procedural pelvis, the same with old metal in it, and the real one where it is at hand."""
    plain = ProceduralPelvis().volume(_SPACING_MM)
    paths = _paths(demo_paths("procedural"))
    found = [Patient("procedural pelvis", plain, paths), Patient("with old metal", _with_metal(plain), paths)]
    real = find_or_fetch_pelvis(progress, download=_no_download)
    if real.path is not None:
        found.append(Patient("real pelvis", load_nifti(real.path), _paths(demo_paths("real"))))
    return tuple(found)


def gantry_at(primary_deg: float, secondary_deg: float, center_lps_mm: F64, side_px: int = 1024) -> Gantry:
    """A prone patient's pose; the field stays 192 mm wide at the isocentre whatever the picture's size."""
    return Gantry(
        primary_deg=primary_deg,
        secondary_deg=secondary_deg,
        isocenter_lps_mm=_vector(center_lps_mm),
        patient_position="HFP",
        detector_rows=side_px,
        detector_columns=side_px,
        pitch_row_mm=0.3 * 1024 / side_px,
        pitch_column_mm=0.3 * 1024 / side_px,
    )


def random_instrument(path: PlannedPath, kind: Kind, bend_mm: float, rng: np.random.Generator) -> Placed:
    """An instrument near a path: tip between a quarter of it and 6 mm past its end, up to 5 mm and 5 deg off."""
    entry, target = np.array(path.entry_lps_mm), np.array(path.target_lps_mm)
    length = float(np.linalg.norm(target - entry))
    way = (target - entry) / length
    tip = entry + way * rng.uniform(0.25 * length, length + 6.0) + _across(way, rng) * rng.uniform(0.0, 5.0)
    axis = way + np.tan(np.radians(rng.uniform(0.0, 5.0))) * _across(way, rng)
    axis /= np.linalg.norm(axis)
    return Placed(
        kind=kind,
        tip_lps_mm=_vector(tip),
        axis=_vector(axis),
        side=_vector(_across(axis, rng)),
        length_mm=_LENGTH_MM,
        bend_mm=bend_mm,
    )


def grey(picture: U16) -> U8:
    """For people: 1 to 99 percent of its values, black to white."""
    low, high = np.percentile(picture[::8, ::8], (1.0, 99.0))
    shades: U8 = np.clip((picture - low) * (255.0 / max(high - low, 1.0)), 0.0, 255.0).astype(np.uint8)
    return shades


def _with_metal(volume: HuVolume) -> HuVolume:
    voxels = volume.voxels_hu.copy()
    for start, end, diameter_mm in _OLD_METAL:
        voxelise(
            Cylinder(start_lps_mm=start, end_lps_mm=end, diameter_mm=diameter_mm), voxels, volume.affine_lps_from_ijk
        )
    return HuVolume(voxels, volume.affine_lps_from_ijk, f"{volume.description}, with old metal")


def _paths(bodies: list[dict[str, Any]]) -> list[PlannedPath]:
    return [
        PlannedPath(
            id=f"P{number}",
            entry_lps_mm=_vector(np.array(body["entry_lps_mm"])),
            target_lps_mm=_vector(np.array(body["target_lps_mm"])),
            diameter_mm=float(body["diameter_mm"]),
            label=str(body["label"]),
            color=str(body["color"]),
        )
        for number, body in enumerate(bodies, start=1)
    ]


def _box(cylinders: Sequence[Cylinder], matrix: F64, size: tuple[int, int]) -> tuple[slice, slice]:
    corners = np.concatenate([cylinder.corners_lps_mm() for cylinder in cylinders])
    homogeneous = corners @ matrix[:, :3].T + matrix[:, 3]
    uv = homogeneous[:, :2] / homogeneous[:, 2:]
    low = np.maximum(np.floor(uv.min(axis=0)) - _BOX_MARGIN_PX, 0).astype(int)
    high = np.minimum(np.ceil(uv.max(axis=0)) + _BOX_MARGIN_PX, (size[1], size[0])).astype(int)
    high = np.maximum(high, low)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _across(direction: F64, rng: np.random.Generator) -> F64:
    across: F64 = np.cross(direction, rng.normal(size=3))
    return across / float(np.linalg.norm(across))


def _vector(values: F64) -> Vector3:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _no_download(*_: object) -> Any:
    raise FetchError("a benchmark fetches nothing")
