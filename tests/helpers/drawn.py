"""Frames drawn for tests: a camera, a judged input, and the layer that its scene leaves."""

from __future__ import annotations

import numpy as np

from guidance.config import OverlaySettings
from guidance.geometry.camera import ConeBeamCamera
from guidance.geometry.detector import Detector
from guidance.geometry.positioner import CArmPose
from guidance.kernels import compose_frame, frame_buffers
from guidance.liveness import Liveness
from guidance.messages import FluoroFrame, GeometryState, GeometryVerdict
from guidance.overlay.colors import rgb_of
from guidance.overlay.place import place_paths
from guidance.overlay.scene import frame_scene
from guidance.overlay.zones import NO_ZONES
from guidance.session import InputTrack

# At the isocentre's depth 1 mm is 1200 / 750 / 0.3 = 5.333 px of a 1024 px picture, whose middle is 511.5.
PX_PER_MM = 1200.0 / 750.0 / 0.3


def view(primary_deg=0.0, secondary_deg=0.0, *, size=1024, roll_deg=0.0, flip=False):
    pitch = 0.3 * 1024 / size
    camera = ConeBeamCamera(
        pose=CArmPose(
            primary_angle_deg=primary_deg,
            secondary_angle_deg=secondary_deg,
            source_to_detector_mm=1200.0,
            source_to_isocenter_mm=750.0,
            detector_rotation_deg=roll_deg,
        ),
        detector=Detector(rows=size, columns=size, pitch_row_mm=pitch, pitch_column_mm=pitch, fov_flip=flip),
    )
    return tuple(camera.pixel_from_patient.reshape(-1).tolist())


def track_of(paths, matrix, *, shape=(1024, 1024), state=GeometryState.TRUSTED, reason="", liveness=None, silent=False):
    verdict = GeometryVerdict(state=state, reason=reason, code="why" if reason else "", pixel_from_patient=matrix)
    frame = FluoroFrame(device="Fluoro", pixels=np.zeros(shape, np.uint8), timestamp_igtl=0, received_ns=0)
    return InputTrack(
        device="Fluoro",
        frame=frame,
        verdict=verdict,
        places=place_paths(paths, verdict, rows=shape[0], columns=shape[1]),
        liveness=liveness or Liveness(),
        silent=silent,
    )


def draw(paths, matrix, *, age_ms=0.0, zones=NO_ZONES, aids=None, settings=None, **track):
    """The scene and its layer."""
    track = track_of(paths, matrix, **track)
    scene = frame_scene(track, paths, settings or OverlaySettings(), age_ms=age_ms, zones=zones, aids=aids or {})
    return scene, layer_of(scene, track.frame.pixels)


def layer_of(scene, pixels):
    buffers = frame_buffers(*pixels.shape)
    compose_frame(
        pixels, 0, 1, scene.strokes, scene.sprites, scene.sprite_table, buffers.rgb, buffers.layer, buffers.dirty,
        under=scene.under,
    )  # fmt: skip
    return buffers.layer


def pixels_of(layer, color):
    """(N, 2) rows and columns that have exactly this colour."""
    return np.argwhere((layer[..., :3] == rgb_of(color)).all(axis=2) & (layer[..., 3] > 0))


def words_of(scene):
    return " ".join(text.text for text in scene.texts if not text.path_id and not text.zone_id)
