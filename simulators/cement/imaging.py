"""Fluoroscopy of growing cement: each picture with the truth of it. Nothing of the server's tracker is used here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from guidance.kernels.drr import ProjectionVolume
from guidance.messages import F32, Matrix34
from simulators.carm_metadata import Technique, Telling, frame_metadata, reference_point_mm
from simulators.cement.base import BasePictures
from simulators.cement.detector import U16, Detector, DetectorRun
from simulators.cement.field import Box, Hand, blades, hand_layers, round_shutter
from simulators.cement.grown import GrownCement
from simulators.cement.motion import PatientMotion
from simulators.cement.pixel_form import PixelForm
from simulators.cement.scatter import ScatterModel, scatter_field
from simulators.cement.shadow import CementShadows
from simulators.gantry import Gantry
from simulators.instruments import Cylinder
from simulators.volumes import HuVolume
from simulators.xray import Beam, beam

_TUBE_CURRENT_MA: Final = 20.0
_PULSE_WIDTH_MS: Final = 8.0
_GYCM2_PER_MGYMM2: Final = 1e-5
_KV_STEP_MISSED: Final = 1.04  # the generator's own correction at a step of the voltage is not quite right


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagedView:
    """One plane, or one place of a single plane.

    Attributes:
        gantry: where; its table is where it stands at first.
        device: OpenIGTLink name.
        blades: (from s, open field or None: no blade in the picture), rising.
        blades_told: whether the field is told with each frame; else the whole picture is.
        table: (from s, table x y z in mm), rising: a pan, told by the stream.
        shutter: diameter of a round display shutter as a share of the picture's shorter side; None: none.
        hand: that gets into this view.
        pixels: what numbers are sent.
    """

    gantry: Gantry
    device: str = "Fluoro"
    blades: tuple[tuple[float, Box | None], ...] = ()
    blades_told: bool = True
    table: tuple[tuple[float, tuple[float, float, float]], ...] = ()
    shutter: float | None = None
    hand: Hand | None = None
    pixels: PixelForm = field(default_factory=PixelForm)

    def gantry_at(self, t_s: float) -> Gantry:
        """With the table where it is then."""
        table = [place for begins_s, place in self.table if begins_s <= t_s]
        return replace(self.gantry, table_mm=table[-1]) if table else self.gantry

    def blades_at(self, t_s: float) -> Box | None:
        boxes = [box for begins_s, box in self.blades if begins_s <= t_s]
        return boxes[-1] if boxes else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CementTechnique:
    """Tube, detector and scatter.

    Attributes:
        kvp: at first.
        kvp_steps: (from s, kV), rising.
        aluminium_mm, copper_mm: filtration.
        detector, scatter: see there.
        rate_hz: pulses per second; told nowhere, it is for whoever makes a stream of it.
        telling: form of the geometry in the metadata.
    """

    kvp: float = 80.0
    kvp_steps: tuple[tuple[float, float], ...] = ()
    aluminium_mm: float = 3.0
    copper_mm: float = 0.1
    detector: Detector = field(default_factory=Detector)
    scatter: ScatterModel = field(default_factory=ScatterModel)
    rate_hz: float = 15.0
    telling: Telling = field(default_factory=Telling)

    def beam_at(self, t_s: float) -> Beam:
        kvp = self.kvp
        for begins_s, value in self.kvp_steps:
            kvp = value if begins_s <= t_s else kvp
        return beam(kvp, self.aluminium_mm, self.copper_mm)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CementPicture:
    """One frame and its truth.

    Attributes:
        pixels: (rows, columns) uint16, as sent.
        device, frame_index, t_s: which.
        metadata: `XRay.*`, as sent; its frame number counts all that the device has taken.
        pixel_from_patient: (3, 4) row-major: where the CBCT's points really are on this picture, breath and all.
        told_gantry, gantry: as told (the patient where the CBCT had them) and as it was.
        thickness_mm: (rows, columns) float32: cement along each ray, full cement that was not there at the start;
            what is inside the cannula does not count.
        scatter_share: (rows, columns) float32: scatter's share of what arrived.
        volume_ml: new cement in the patient, all of it, on the picture or not.
        exposure: detector value per open beam.
        kvp: tube voltage.
    """

    pixels: U16
    device: str
    frame_index: int
    t_s: float
    metadata: Mapping[str, str]
    pixel_from_patient: Matrix34
    told_gantry: Gantry
    gantry: Gantry
    thickness_mm: F32
    scatter_share: F32
    volume_ml: float
    exposure: float
    kvp: float


class CementImaging:
    """Takes pictures of a patient in whom cement grows.

    Frames of one view are taken in order of `frame_index`; another order begins exposure control and afterglow afresh
    at each jump. The same frames in the same order give the same pixels.

    Args:
        patient: who; a `ProjectionVolume` of them may be shared by many.
        grown: the cement, the cannula and everything else that was put into the patient.
        technique: tube and detector.
        views: planes or places.
        motion: of the patient.
        instruments: more that stands still in the patient.
    """

    def __init__(
        self,
        patient: HuVolume | ProjectionVolume,
        grown: GrownCement,
        technique: CementTechnique,
        views: Sequence[ImagedView],
        *,
        motion: PatientMotion = PatientMotion(),
        instruments: tuple[Cylinder, ...] = (),
    ) -> None:
        self.grown, self.technique, self.views, self.motion = grown, technique, tuple(views), motion
        projection = (
            ProjectionVolume(patient.voxels_hu, patient.affine_lps_from_ijk)
            if isinstance(patient, HuVolume)
            else patient
        )
        middle = grown.affine_lps_from_ijk @ np.append((np.array(grown.level.shape[::-1]) - 1.0) / 2.0, 1.0)
        old = grown.old_cement
        old_cement = None if old is None else ProjectionVolume(old, grown.affine_lps_from_ijk, air=0)
        self._base = BasePictures(projection, (*grown.metal, *instruments), middle[:3], old_cement)
        self._shadows = CementShadows(grown)
        self._runs = [
            DetectorRun(technique.detector, view.gantry.pitch_row_mm * view.gantry.pitch_column_mm, number)
            for number, view in enumerate(self.views)
        ]
        self._last = [(-2, technique.kvp) for _ in self.views]
        self._numbers: dict[str, int] = {}
        self._kerma_mgy = 0.0
        self._dap_gycm2 = 0.0

    def picture(self, view_index: int, t_s: float, frame_index: int, *, growth_s: float | None = None) -> CementPicture:
        """The picture that one view takes at a time.

        Args:
            view_index: of `views`.
            t_s: since the start of the growth; negative: before it, for the reference.
            frame_index: rises by 1 per frame of this view; of the noise.
            growth_s: how far the injection is along its curve, where it was held up or stopped; None: `t_s`.
        """
        view, technique, run = self.views[view_index], self.technique, self._runs[view_index]
        grown_s = t_s if growth_s is None else growth_s
        told = view.gantry_at(t_s)
        gantry = replace(told, patient_moved=self.motion.at(t_s))
        matrix = gantry.pixel_from_patient()
        tube = technique.beam_at(t_s)
        layers = self._base.layers(gantry, matrix)
        thickness = self._shadows.add(layers, matrix, grown_s)
        pitch_mm = float(np.sqrt(gantry.pitch_row_mm * gantry.pitch_column_mm))
        if view.hand is not None and (hand := hand_layers(view.hand, t_s, gantry.size, pitch_mm)) is not None:
            layers.add(hand[0], "soft_tissue", hand[1], displaces=False)
            layers.add(hand[0], "cortical_bone", hand[2], displaces=False)
        primary = layers.transmission(tube)
        box = view.blades_at(t_s)
        if box is not None:
            primary *= blades(box, gantry.size)
        scattered = scatter_field(primary, layers.water_mm, pitch_mm, technique.scatter)
        arriving = primary + scattered
        exposure = self._exposed(view_index, arriving, tube, frame_index)
        pixels = run.read(arriving, frame_index, t_s)
        if view.shutter is not None:
            pixels[round_shutter(gantry.size, view.shutter)] = 0
        return CementPicture(
            pixels=view.pixels.told(pixels),
            device=view.device,
            frame_index=frame_index,
            t_s=t_s,
            metadata=self._metadata(view, told, tube, exposure, box),
            pixel_from_patient=tuple(float(value) for value in matrix.ravel()),
            told_gantry=told,
            gantry=gantry,
            thickness_mm=thickness,
            scatter_share=scattered / arriving,
            volume_ml=self.grown.volume_ml(grown_s),
            exposure=exposure,
            kvp=tube.kvp,
        )

    def _exposed(self, view_index: int, arriving: F32, tube: Beam, frame_index: int) -> float:
        run, (before, kvp) = self._runs[view_index], self._last[view_index]
        self._last[view_index] = (frame_index, tube.kvp)
        if frame_index != before + 1:
            run.forget()
        elif tube.kvp != kvp:
            return run.step(arriving, _KV_STEP_MISSED)
        return run.expose(arriving)

    def _metadata(self, view: ImagedView, told: Gantry, tube: Beam, exposure: float, box: Box | None) -> dict[str, str]:
        area_mm2 = told.size[0] * told.size[1] * told.pitch_row_mm * told.pitch_column_mm
        detector = self.technique.detector
        # Detected photons of the open beam on a mm2, as air kerma there.
        photons = exposure * detector.photons_per_mm2 / detector.level
        at_detector_mgy = photons * tube.kerma_mgy_per_photon_mm2
        self._kerma_mgy += at_detector_mgy * (told.source_to_detector_mm / reference_point_mm(told)) ** 2
        self._dap_gycm2 += at_detector_mgy * area_mm2 * _GYCM2_PER_MGYMM2
        technique = Technique(
            kvp=tube.kvp,
            tube_current_ma=_TUBE_CURRENT_MA,
            pulse_width_ms=_PULSE_WIDTH_MS,
            air_kerma_mgy=self._kerma_mgy,
            dose_area_product_gycm2=self._dap_gycm2,
        )
        # A device counts on from place to place.
        number = self._numbers[view.device] = self._numbers.get(view.device, 0) + 1
        told_metadata = frame_metadata(told, self.technique.telling, technique, frame_number=number, live=True)
        if box is not None and view.blades_told:
            told_metadata["XRay.CollimatorPx"] = " ".join(str(value) for value in box)
        return told_metadata | view.pixels.metadata()
