"""Each picture held against the volume's projection at the told matrix: how far off is what is seen."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from guidance.consistency.arrangement import arranged_otherwise, scaled_otherwise
from guidance.consistency.displacement import displaced_mm, displacement_of
from guidance.consistency.measurement import FAIR, GOOD, Arrangement, Measurement
from guidance.consistency.picture import Collimator, SeenPicture, grid_of
from guidance.consistency.prediction import Prediction
from guidance.consistency.search import AROUND_MM, Found, MotionSearch
from guidance.consistency.volume import WatchVolume
from guidance.kernels.watch import Grid
from guidance.messages import F64, Pixels
from guidance.registration.values import motion_vector, small_motion

_FEWEST_BINS: Final = 24  # along a side
_KEPT_SHARE: Final = 0.6
_STILL_MM: Final = 0.5  # a linearisation serves while the answer stays so near
_OTHERWISE: Final = 0.75  # below it, other arrangements are tried on every new pose
_CHANGED: Final = 0.05  # of the similarity: the picture is another than the one that arrangements were tried on
_UNSUCCESSFUL: Final = 3  # searches from far at one volume, after which only every so many frames is searched
_EVERY: Final = 6
_NOWHERE: Final = np.zeros(6)


class FrameMeasurer:
    """Measures the frames of one input against one volume; keeps what it can while the pose stands.

    Args:
        volume: of `watch_volume`.

    Attributes:
        pivot_lps_mm: (3,) middle of the volume's structure, about which motions turn.
    """

    def __init__(self, volume: WatchVolume) -> None:
        self._prediction = Prediction(volume)
        self.pivot_lps_mm: F64 = self._prediction.pivot_lps_mm
        self._search = MotionSearch(self._prediction)
        self._carried: F64 = _NOWHERE
        self._pose: tuple[bytes, Grid] | None = None
        self._arranged: Arrangement | None = None
        self._scaled: float | None = None
        self._failures = 0
        self._tried_at = 0.0

    def measure(
        self,
        pixels: Pixels,
        pixel_from_patient: F64,
        *,
        intensity: Literal["LIN", "LOG", "DISP"] = "LIN",
        sign: Literal[1, -1] = 1,
        collimator_px: Collimator | None = None,
        points_lps_mm: F64 | None = None,
    ) -> Measurement:
        """Measure one frame; takes what is there, never raises for what a picture may hold.

        Args:
            pixels: (rows, columns) uint8, int8, uint16, int16 or float32.
            pixel_from_patient: (3, 4) as told, an accepted registration applied; w in mm, > 0 in front of the source.
            intensity, sign: of the pixels, DICOM (0028,1040) and (0028,1041).
            collimator_px: left, top, right, bottom of what is exposed, of the picture as sent; None: all of it.
            points_lps_mm: (N, 3) what is drawn (path ends): the residual is that of the one farthest off; None: root
                mean square around the middle of the structure.
        """
        told = np.ascontiguousarray(pixel_from_patient, np.float64)
        grid = grid_of(pixels.shape)
        if min(grid.rows, grid.columns) < _FEWEST_BINS or not self._prediction.usable(told):
            return Measurement(picture_shows=0.0, projection_shows=0.0, xray_like=False)
        seen = SeenPicture(
            np.ascontiguousarray(pixels), logarithm=intensity == "LIN", bright=sign > 0, collimator_px=collimator_px
        )
        weight = self._prediction.template(told, self._carried, grid)[0]
        shows = seen.shows(weight)
        projection_shows = float(weight.mean())
        compared = float(np.vdot(weight, seen.layer(0).shown.core)) / weight.size
        if shows <= 0.0 or projection_shows <= 0.0:
            return Measurement(picture_shows=shows, projection_shows=projection_shows, xray_like=False)
        found = self._found(seen, told)
        self._try_otherwise(seen, told, grid, found)
        fair = found.similarity >= FAIR
        xray_like = found.similarity >= GOOD or seen.xray_like()
        self._carry(found.motion if found.similarity >= GOOD else _NOWHERE, told)
        pivot = self._prediction.pivot_lps_mm
        drawn = points_lps_mm is not None and len(points_lps_mm) > 0
        points = points_lps_mm if points_lps_mm is not None and drawn else pivot + AROUND_MM
        off = displacement_of(found.motion, found.covariance, told, pivot, points)
        return Measurement(
            picture_shows=shows,
            projection_shows=projection_shows,
            xray_like=xray_like,
            compared=compared,
            similarity=found.similarity,
            similarity_told=found.similarity_told,
            offset=tuple(found.motion.tolist()) if fair else None,
            covariance=tuple(found.covariance.ravel().tolist()) if fair else None,
            pivot_lps_mm=(float(pivot[0]), float(pivot[1]), float(pivot[2])),
            residual_px=(off.worst_px if drawn else off.px) if fair else None,
            residual_mm=(off.worst_mm if drawn else off.mm) if fair else None,
            sigma_mm=(off.worst_sigma_mm if drawn else off.sigma_mm) if fair else None,
            shift_mm=off.pivot_mm if fair else None,
            magnified=self._magnified(found, told) if fair else None,
            arranged=self._arranged,
            scaled=self._scaled,
        )

    def _found(self, seen: SeenPicture, told: F64) -> Found:
        found = self._search.near(seen, told, self._carried)
        if found.similarity >= GOOD:
            self._failures = 0
            return found
        if self._carried.any():
            fresh = self._search.near(seen, told, _NOWHERE)
            found = fresh if fresh.similarity > found.similarity else found
        if found.similarity < GOOD and (self._failures < _UNSUCCESSFUL or self._failures % _EVERY == 0):
            far = self._search.far(seen, told)
            # A motion that takes the volume out of the picture agrees with little.
            if far.similarity > found.similarity and far.weight > _KEPT_SHARE * found.weight:
                found = far
        self._failures = 0 if found.similarity >= GOOD else self._failures + 1
        return found

    def _try_otherwise(self, seen: SeenPicture, told: F64, grid: Grid, found: Found) -> None:
        """Other arrangements and scales: once per pose and when agreement changes, now and then where there is none."""
        pose = (told.tobytes(), grid)
        changed = abs(found.similarity - self._tried_at) > _CHANGED
        again = self._failures > 0 and (self._failures <= _UNSUCCESSFUL or self._failures % _EVERY == 0)
        if pose == self._pose and not again and not changed:
            return
        self._pose, self._tried_at = pose, found.similarity
        self._arranged = self._scaled = None
        if found.similarity < _OTHERWISE:
            self._arranged = arranged_otherwise(seen, self._prediction, told, found.similarity)
        if found.similarity < GOOD and self._arranged is None:
            self._scaled = scaled_otherwise(seen, self._prediction, told)

    def _carry(self, motion: F64, told: F64) -> None:
        """Have the next frame's steps begin near where this one's ended; as long as they do, nothing is made anew."""
        if self._apart_mm(motion, self._carried, told) > _STILL_MM:
            self._carried = _NOWHERE if self._apart_mm(motion, _NOWHERE, told) <= _STILL_MM else motion

    def _apart_mm(self, motion: F64, other: F64, told: F64) -> float:
        if motion is other:
            return 0.0
        pivot = self._prediction.pivot_lps_mm
        between = motion_vector(small_motion(motion, pivot) @ np.linalg.inv(small_motion(other, pivot)), pivot)
        return displaced_mm(between, told, pivot, pivot + AROUND_MM)

    def _magnified(self, found: Found, told: F64) -> tuple[float, float]:
        """How much larger the pivot's surroundings are seen than told, and its standard deviation."""
        axis = told[2, :3]
        depth = self._prediction.depth_mm(told)
        along = float(axis @ found.motion[:3])
        sigma = float(np.sqrt(axis @ found.covariance[:3, :3] @ axis))
        return depth / max(depth + along, 1.0), sigma / depth
