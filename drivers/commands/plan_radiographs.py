"""Simulated radiographs of a planned path's views, with the overlay that the live picture would have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from drivers.commands.picture_ink import below, blank, line_height, paragraph, text
from guidance.config import OverlaySettings
from guidance.geometry.camera import ConeBeamCamera
from guidance.geometry.detector import Detector
from guidance.geometry.positioner import CArmPose
from guidance.kernels import compose_frame, frame_buffers
from guidance.kernels.drr import MaterialCurves, ProjectionVolume, cone_projection
from guidance.liveness import Liveness
from guidance.messages import F64, U8, FluoroFrame, GeometryState, GeometryVerdict, PlannedPath, Vector3
from guidance.overlay.colors import Rgb
from guidance.overlay.place import place_paths
from guidance.overlay.scene import frame_scene
from guidance.overlay.window import measured_part
from guidance.overlay.zones import PathAid, ZonesOnPicture
from guidance.planning.answers import View
from guidance.planning.c_arms import CArmModel
from guidance.planning.view_angles import angle_words
from guidance.planning.volume import I16, PlanningVolume
from guidance.session import InputTrack

U16 = npt.NDArray[np.uint16]

_SIZE_PX: Final = 640
_THREADS: Final = 2
# Linear attenuation at about 65 keV: water 0.0201/mm; bone rises faster than HU, which are taken at a higher energy.
# Knots in HU; below -900 there is air or padding.
_ATTENUATION: Final = MaterialCurves(np.array((-900.0, 0.0, 1000.0, 3000.0)), np.array(((0.0, 0.0201, 0.046, 0.098),)))
_WHOLE: Final = 65535.0
_LOG_RANGE: Final = 20.0  # natural logarithm that 16 bits hold; 14 is 0.7 m of water
_EVENED_PART: Final = 0.7
_EVENED_PX: Final = _SIZE_PX / 12
# Field formats of flat detectors, mm: the smallest that shows the path with room around it.
_FORMATS_MM: Final = (220.0, 300.0)
_FILLED: Final = 0.72
_COARSE_MM: Final = 1.5
_FULL_HU: Final = (-1024, 3071)  # padding below and metal above would ring
_BODY: Final = 2.0  # attenuation of 10 cm of water
_WINDOW_PERCENT: Final = (0.2, 98.5)
_BACKGROUND: Final[Rgb] = (16, 18, 22)
_INK: Final[Rgb] = (226, 232, 240)
_FAINT: Final[Rgb] = (150, 160, 172)
_WARNING: Final[Rgb] = (255, 170, 90)
_KINDS: Final = {"bulls_eye": "Bull's-eye", "progression": "Progression", "en_face": "En face"}


class RadiographRoom:
    """A volume made ready for radiographs; several views share it.

    Args:
        volume: HU; what is below -900 HU casts no shadow. Voxels coarser than 1.5 mm are halved by cubic splines,
            since rays along a coarse grid would show it as stripes.
        c_arm: distances and detector of the pictures.
    """

    def __init__(self, volume: PlanningVolume, c_arm: CArmModel) -> None:
        self._volume = ProjectionVolume(*_smooth(volume))
        self._c_arm = c_arm

    def sheet(
        self,
        view: View,
        paths: Sequence[PlannedPath],
        isocenter_lps_mm: Vector3,
        *,
        zones: ZonesOnPicture,
        aids: Mapping[str, PathAid],
        settings: OverlaySettings,
    ) -> U8:
        """One view, (rows, columns, 3) RGB: the picture with the overlay, and what it is in words below.

        Args:
            paths: drawn as the live picture draws them; the first is whose view it is.
        """
        camera = self._camera(view, paths[0], isocenter_lps_mm)
        matrix = camera.pixel_from_patient
        pixels, low, high = self._pixels(matrix)
        verdict = GeometryVerdict(
            state=GeometryState.TRUSTED, pixel_from_patient=tuple(matrix.ravel().tolist()), source="metadata_angles"
        )
        track = InputTrack(
            device="Fluoro",
            frame=FluoroFrame(device="Fluoro", pixels=pixels, timestamp_igtl=0, received_ns=0),
            frames=1,
            liveness=Liveness(held=True, why="simulated radiograph"),
            verdict=verdict,
            places=place_paths(paths, verdict, rows=_SIZE_PX, columns=_SIZE_PX),
        )
        scene = frame_scene(track, paths, settings, age_ms=0.0, zones=zones, aids=aids)
        buffers = frame_buffers(_SIZE_PX, _SIZE_PX)
        compose_frame(
            pixels,
            low,
            high,
            scene.strokes,
            scene.sprites,
            scene.sprite_table,
            buffers.rgb,
            buffers.layer,
            buffers.dirty,
        )
        return below((buffers.rgb, self._caption(view)), 0, _BACKGROUND)

    def _camera(self, view: View, path: PlannedPath, isocenter_lps_mm: Vector3) -> ConeBeamCamera:
        source_to_detector_mm = self._c_arm.source_to_detector_mm[1]
        length_mm = float(np.linalg.norm(np.subtract(path.target_lps_mm, path.entry_lps_mm)))
        magnified_mm = length_mm * source_to_detector_mm / self._c_arm.source_to_isocenter_mm
        fitting = [size for size in _FORMATS_MM if magnified_mm <= _FILLED * size]
        pitch_mm = (fitting or _FORMATS_MM[-1:])[0] / _SIZE_PX
        pose = CArmPose(
            primary_angle_deg=view.primary_deg,
            secondary_angle_deg=view.secondary_deg,
            source_to_detector_mm=source_to_detector_mm,
            source_to_isocenter_mm=self._c_arm.source_to_isocenter_mm,
        )
        detector = Detector(rows=_SIZE_PX, columns=_SIZE_PX, pitch_row_mm=pitch_mm, pitch_column_mm=pitch_mm)
        return ConeBeamCamera(pose=pose, detector=detector, isocenter_lps_mm=isocenter_lps_mm)

    def _pixels(self, pixel_from_patient: F64) -> tuple[U16, float, float]:
        """Logarithmic, bones dark, thick parts of the body evened out as an angiography system does; and the window.

        The window is measured where there is body in the picture's middle: air beside it would take the grey levels.
        """
        size = (_SIZE_PX, _SIZE_PX)
        integral = cone_projection(self._volume, pixel_from_patient, size, _ATTENUATION, threads=_THREADS)[0]
        shown = integral - _EVENED_PART * cv2.GaussianBlur(integral, (0, 0), _EVENED_PX)
        pixels = (_WHOLE * np.clip(0.5 - shown / _LOG_RANGE, 0.0, 1.0)).astype(np.uint16)
        middle = measured_part(pixels)[measured_part(integral) > _BODY]
        if middle.size == 0:  # the path's picture shows nothing of the volume
            return pixels, 0.0, _WHOLE
        low, high = np.percentile(middle, _WINDOW_PERCENT)
        return pixels, float(low), max(float(high), float(low) + 1.0)

    def _caption(self, view: View) -> U8:
        canvas = blank(8 * line_height(14), _SIZE_PX, _BACKGROUND)
        heading = f"{_KINDS[view.kind]}   {angle_words(view.primary_deg, view.secondary_deg)}"
        shown = text(canvas, heading, 10, 8, 16, _INK, halo=False)
        if view.equipment_deg is not None:
            own = f"stand {view.equipment_deg[0]:.0f} / {view.equipment_deg[1]:.0f}"
            text(canvas, own, shown + 30, 10, 13, _FAINT, halo=False)
        state = f"score {view.score:.0f}" if view.reachable else "not reachable"
        color = _INK if view.reachable else _WARNING
        text(canvas, state, _SIZE_PX - 10, 9, 14, color, anchor=1.0, halo=False)
        top = paragraph(canvas, view.reason, 10, 8 + line_height(16), _SIZE_PX - 20, 13, color)
        told = "Digitally reconstructed from the CT, head up; scatter and noise are not simulated. "
        top = paragraph(canvas, told, 10, top, _SIZE_PX - 20, 12, _FAINT)
        return canvas[: top + 6]


def _smooth(volume: PlanningVolume) -> tuple[I16, F64]:
    steps_mm = np.linalg.norm(volume.affine_lps_from_ijk[:3, :3], axis=0)
    coarse = steps_mm[::-1] > _COARSE_MM  # of k, j, i
    if not coarse.any():
        return volume.voxels_hu, volume.affine_lps_from_ijk
    shape = [2 * size - 1 if halved else size for size, halved in zip(volume.voxels_hu.shape, coarse, strict=True)]
    scale = np.where(coarse, 0.5, 1.0)
    held = np.clip(volume.voxels_hu, *_FULL_HU).astype(np.float32)
    finer = ndimage.affine_transform(held, scale, output_shape=tuple(shape), order=3, mode="nearest")
    affine = volume.affine_lps_from_ijk @ np.diag((*scale[::-1], 1.0))
    return np.clip(np.round(finer), *_FULL_HU).astype(np.int16), affine
