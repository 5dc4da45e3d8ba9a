"""What the latency benchmark streams: radiographs of a pelvis with a pin on its way, standing and turning."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from drivers.commands.latency_rig import Packer
from guidance.kernels import crc64
from guidance.kernels.drr import ProjectionVolume
from guidance.wire.openigtlink.image import pack_image_parts
from simulators.cbct import cbct_volume
from simulators.demo_paths import demo_paths, demo_pin
from simulators.demo_zones import demo_zones
from simulators.gantry import Gantry
from simulators.pelvis import ProceduralPelvis
from simulators.scene import Exposed, Exposure, NoiseFields, Scene, expose
from simulators.volumes import HuVolume

ROWS: Final = 1024
_PITCH_MM: Final = 0.37
_SPACING_MM: Final = 2.0
_CBCT_SPACING_MM: Final = 1.5
_STANDING: Final = 16  # distinct noise of one view, sent in turn, so that none is taken for a held one
_POSES: Final = 14  # while turning, to and fro
_POSE_DEG: Final = (1.4, -0.6)  # from pose to pose: at 30/s faster than a C-arm's 3D run
_COARSER: Final = 2
_FIRST_DEG: Final = (-14.0, 12.0)
_PIN_ALONG: Final = 2
_SEED: Final = 7
_STEPS_PER_S: Final = 1 << 20
_STEP_BITS: Final = 12


class Pictures:
    """Packs stamped frames; every frame has its own number and timestamp.

    Attributes:
        paths, zones: of the plan, bodies of POST requests.
    """

    def __init__(self) -> None:
        self.paths: list[dict[str, Any]] = demo_paths("procedural")
        self.zones: list[dict[str, Any]] = demo_zones("procedural")
        self._patient = ProceduralPelvis().volume(_SPACING_MM)
        self._number = 0
        scene = Scene(
            ProjectionVolume(self._patient.voxels_hu, self._patient.affine_lps_from_ijk),
            (demo_pin(self.paths[_PIN_ALONG]),),
        )
        noise = NoiseFields(_SEED, ROWS * ROWS)
        standing = _exposed(scene, self._gantry(0))
        self._standing = [_Picture(noise.apply(standing, index), 0) for index in range(_STANDING)]
        self._turning = [
            _Picture(noise.apply(_exposed(scene, self._gantry(pose)), _STANDING + pose), pose) for pose in range(_POSES)
        ]

    @cached_property
    def cbct(self) -> HuVolume:
        """The volume that the plan is made on: a part of the patient, as a C-arm makes it."""
        return cbct_volume(self._patient, spacing_mm=_CBCT_SPACING_MM, center_lps_mm=self._center)

    def packer(self, frame_of_reference_uid: str, *, moving: bool = False) -> Packer:
        """Frames of a C-arm that stands, or that turns all the time."""
        geometry = {
            "XRay.SourceToDetectorMm": "1200",
            "XRay.SourceToIsocenterMm": "750",
            "XRay.ImagerPixelSpacingMm": f"{_PITCH_MM} {_PITCH_MM}",
            "XRay.IsocenterLpsMm": " ".join(f"{number:.6f}" for number in self._center.tolist()),
            "XRay.FrameOfReferenceUID": frame_of_reference_uid,
            "XRay.Live": "1",
        }

        def pack(index: int) -> tuple[int, list[memoryview]]:
            self._number += 1
            picture = self._next(moving)
            gantry = self._gantry(picture.pose)
            told = {
                "XRay.FrameNumber": str(self._number),
                "XRay.PrimaryAngleDeg": f"{gantry.primary_deg:.3f}",
                "XRay.SecondaryAngleDeg": f"{gantry.secondary_deg:.3f}",
            }
            # Real time as a sound sender stamps it; in steps of a microsecond, which pyigtl's doubles keep exactly.
            timestamp = int(time.time() * _STEPS_PER_S) << _STEP_BITS
            prefix, suffix = pack_image_parts(
                "Fluoro", timestamp, (ROWS, ROWS), np.uint16, pixels_crc64=picture.crc, metadata=geometry | told
            )
            pixels = memoryview(picture.pixels.reshape(-1).view(np.uint8).data)
            return timestamp, [memoryview(prefix), pixels, memoryview(suffix)]

        return pack

    def _next(self, moving: bool) -> _Picture:
        if not moving:
            return self._standing[self._number % _STANDING]
        # While it turns, nothing of one frame's geometry or drawing can serve for the next.
        at = self._number % (2 * _POSES - 2)
        return self._turning[min(at, 2 * _POSES - 2 - at)]

    @property
    def _center(self) -> npt.NDArray[np.float64]:
        ends = [path[key] for path in self.paths for key in ("entry_lps_mm", "target_lps_mm")]
        return np.asarray(np.mean(ends, axis=0), np.float64)

    def _gantry(self, pose: int) -> Gantry:
        x, y, z = self._center.tolist()
        return Gantry(
            primary_deg=_FIRST_DEG[0] + pose * _POSE_DEG[0],
            secondary_deg=_FIRST_DEG[1] + pose * _POSE_DEG[1],
            isocenter_lps_mm=(x, y, z),
            detector_rows=ROWS,
            detector_columns=ROWS,
            pitch_row_mm=_PITCH_MM,
            pitch_column_mm=_PITCH_MM,
        )


class _Picture:
    """One radiograph and the pose that it was taken in."""

    def __init__(self, pixels: npt.NDArray[np.uint16], pose: int) -> None:
        self.pixels, self.pose = pixels, pose
        self.crc = crc64(pixels.reshape(-1).view(np.uint8))


_EXPOSURE: Final = Exposure()


def _exposed(scene: Scene, gantry: Gantry) -> Exposed:
    """The patient, worked out for every other pixel: nobody waits for a benchmark's pictures."""
    half = np.diag([1.0 / _COARSER, 1.0 / _COARSER, 1.0])
    half[:2, 2] = (1.0 / _COARSER - 1.0) / 2.0  # pixel centres are at integers
    rows, columns = gantry.size
    coarse = scene.transmission(
        half @ gantry.pixel_from_patient(), (rows // _COARSER, columns // _COARSER), _EXPOSURE.beam
    )
    whole = np.asarray(cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32)
    return expose(whole, _EXPOSURE, gantry.pitch_row_mm * gantry.pitch_column_mm)
