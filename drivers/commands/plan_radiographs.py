"""Simulated radiographs of a planned path's views, with the overlay that the live picture would have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from drivers.commands.picture_ink import below, blank, line_height, paragraph, text
from guidance.config import OverlaySettings
from guidance.geometry.camera import ConeBeamCamera
from guidance.geometry.detector import Detector
from guidance.geometry.positioner import CArmPose
from guidance.kernels import compose_frame, frame_buffers, window_levels
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
from guidance.planning.volume import PlanningVolume
from guidance.session import InputTrack

_SIZE_PX: Final = 640
_THREADS: Final = 2
# Linear attenuation at about 65 keV: water 0.0201/mm; bone rises faster than HU, which are taken at a higher energy.
# Knots in HU; below -900 there is air or padding.
_ATTENUATION: Final = MaterialCurves(
    np.array((-900.0, 0.0, 1000.0, 3000.0)), np.array(((0.0, 0.0201, 0.046, 0.098),))
)
_WHOLE: Final = 65535.0
_LOG_RANGE: Final = 14.0  # natural logarithm of the largest attenuation shown: 0.7 m of water
# Field formats of flat detectors, mm: the smallest that shows the path with room around it.
_FORMATS_MM: Final = (160.0, 200.0, 250.0, 300.0)
_FILLED: Final = 0.72
_BACKGROUND: Final[Rgb] = (16, 18, 22)
_INK: Final[Rgb] = (226, 232, 240)
_FAINT: Final[Rgb] = (150, 160, 172)
_WARNING: Final[Rgb] = (255, 170, 90)
_KINDS: Final = {"bulls_eye": "Bull's-eye", "progression": "Progression", "en_face": "En face"}


class RadiographRoom:
    """A volume made ready for radiographs; several views share it.

    Args:
        volume: HU; what is below -900 HU casts no shadow.
        c_arm: distances and detector of the pictures.
    """

    def __init__(self, volume: PlanningVolume, c_arm: CArmModel) -> None:
        self._volume = ProjectionVolume(volume.voxels_hu, volume.affine_lps_from_ijk)
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
        pixels = self._pixels(matrix)
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
            *window_levels(measured_part(pixels)),
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

    def _pixels(self, pixel_from_patient: F64) -> np.ndarray[tuple[int, int], np.dtype[np.uint16]]:
        """Logarithmic, bones dark, as fluoroscopy is shown."""
        integral = cone_projection(
            self._volume, pixel_from_patient, (_SIZE_PX, _SIZE_PX), _ATTENUATION, threads=_THREADS
        )[0]
        return (_WHOLE * (1.0 - np.minimum(integral, _LOG_RANGE) / _LOG_RANGE)).astype(np.uint16)

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
