"""New cement in one view: from the frame to what is told of it, with a state that stays over frames without sight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import cv2
import numpy as np

from guidance.cement.opacity import Opacity
from guidance.cement.pace import Pace
from guidance.cement.picture_scale import field_of, field_seen, wider, within
from guidance.cement.reference import ReferencePicture
from guidance.cement.values import CementFrame
from guidance.config import CementSettings
from guidance.kernels.cement_tracker import Look, Looked, NativeTracker
from guidance.messages import F32, F64, U8, CementView
from guidance.tracking.values import SeenInstrument

REASONS: Final = {
    "frame_size_changed": "the picture's size is not that of the reference",
    "scalar_type_changed": "the picture's numbers are of another type than the reference's",
    "intensity_changed": "the picture's numbers mean something else than the reference's",
    "saturated": "the picture is saturated",
    "black": "the picture is black",
    "covered": "something lies over most of the picture",
    "picture_changed": "the picture is not that of the reference: another view, or the patient turned",
    "motion_too_large": "the patient has moved too far from where the reference was taken",
}
"""Words of each code with which cement cannot be told."""
UNTOLD_CONTRAST: Final = 0.012
"""Of half a millimetre of a usual cement, where no opacity is known."""
_DISPLAYED_CONTRAST: Final = 0.06  # less may come from a display's curve: of a veil of scatter, of another exposure
_BLADES_MAY: Final = ("covered", "picture_changed")  # be the cause
_BLADES_EVERY: Final = 4  # frames they are looked for again, while they are there
_QUIET_SLOPE: Final = 0.0005  # of the exposure's slope from frame to frame
_STEP_SLOPE: Final = 0.05  # where the tube voltage was changed
_STEP_FRAMES: Final = 4
_GAIN_STEP: Final = 0.03  # natural logarithm of the exposure: a change that may have come with another voltage
_NS: Final = 1e9
_MOST_SCATTER: Final = 8.0  # times its deviation
_STEEL_TRIES: Final = 5
_INSTRUMENT_MARGIN: Final = 0.1  # of the diameter
_MEAN_CHORD: Final = 1.571  # of a round shaft's radius, seen from the side


class CementTracker:
    """One view of one input.

    Args:
        reference: the pose before the cement.
        opacity: of the cement in this beam; None: no thickness is told (display-processed pictures).
        scatter: coarse grid (any size) of scatter's share of the signal, in [0, 0.9]; None: none is taken off.
        settings: thinnest cement that counts, frames of new growth, gap.
        started_ns: when tracking began, server's monotonic clock.
        scatter_sigma: standard deviation of ln(1 - share).
        known_mm: (rows, columns) of the picture: cement that was there when the reference was taken (from 3D), in a
            pose that was first seen after the start; it counts as cement from the first frame.
        seen_ns: until when this pose was followed with another reference; None: it was not.
    """

    def __init__(
        self,
        reference: ReferencePicture,
        *,
        opacity: Opacity | None,
        scatter: F32 | None,
        settings: CementSettings,
        started_ns: int,
        scatter_sigma: float = 0.0,
        known_mm: F32 | None = None,
        seen_ns: int | None = None,
    ) -> None:
        self._reference, self._settings, self._started_ns = reference, settings, started_ns
        self._scale = reference.scale
        self._opacity = opacity if reference.linear else None
        self._scatter_sigma = scatter_sigma
        rows, columns = reference.attenuation.shape
        share = np.zeros((rows, columns), np.float32)
        if scatter is not None and reference.linear:
            share = cv2.resize(np.asarray(scatter, np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
            share = np.clip(np.nan_to_num(share), 0.0, 0.9)
        attenuation = reference.attenuation
        known = None if known_mm is None else self._on_grid(known_mm)
        if known is not None and self._opacity is not None:
            attenuation = attenuation - self._shadow_of(known, share)
        self._native = NativeTracker(
            np.ascontiguousarray(attenuation, np.float32),
            reference.valid,
            reference.variance,
            np.ascontiguousarray(share, np.float32),
            reference_frames=float(max(reference.frames, 1)),
            step=self._scale.step,
            picture=reference.picture,
        )
        if known is not None:
            marks = known >= settings.front_threshold_mm
            self._native.resume()
            self._native.already(np.ascontiguousarray(marks, np.uint8))
        self._steel_tries: dict[str, int] = {}
        self._mm_per_px: float | None = None
        self._blades: tuple[int, int, int, int] | None = None
        self._kvp, self._offset, self._step_frames = reference.kvp, 0.0, 0
        since_ns = started_ns if seen_ns is None else seen_ns
        unseen_s = max(reference.until_ns - since_ns, 0) / _NS if known_mm is not None else 0.0
        self._pace = Pace(settings.gap_s, reference.until_ns, unseen_s)

    def set_opacity(self, opacity: Opacity) -> None:
        """Cement's opacity in another beam, after the voltage was changed."""
        self._opacity = opacity if self._reference.linear else None

    def leave(self) -> None:
        """Another view is looked at: what is known stays, memory for maps is given back."""
        self._native.leave()

    def resume(self, now_ns: int) -> None:
        """The same pose again after a pause or another view: what is known stays, what was missed is said.

        Args:
            now_ns: time of the frame that comes next, on the frames' clock.
        """
        self._native.resume()
        self._pace.pause(now_ns)

    def follow(
        self,
        frame: CementFrame,
        instruments: Sequence[SeenInstrument] = (),
        cannula_px: F64 | None = None,
        expected: U8 | None = None,
        *,
        mm_per_px: float | None = None,
    ) -> CementView:
        """Look at the next frame of this view.

        Args:
            frame: of the reference's input and pose.
            instruments: in this frame, where the reference has none; what lies under them is not told.
            cannula_px: (N, 5) u0, v0, u1, v1, radius: capsules of the picture within which cement does not count.
            expected: (rows, columns) of the picture, 1 where cement is expected (a balloon's cavity).
            mm_per_px: at the isocentre's depth.

        Returns:
            the view; `seen` False where nothing can be told, and the next good frame goes on from what was known.
        """
        self._mm_per_px = mm_per_px
        if code := self._unfit(frame):
            return self._unseen(frame, code, mm_per_px)
        if self._pace.note(frame.time_ns):
            self._native.resume()
        pixels = np.ascontiguousarray(frame.pixels)
        if self._blades is not None and frame.sequence % _BLADES_EVERY == 0:
            self._blades = field_seen(pixels, self._scale)
        scale = replace(self._scale, field_px=within(field_of(frame), self._blades))
        look = self._look(frame, instruments, cannula_px, expected)
        told = self._native.follow(pixels, scale, look)
        if told.code in _BLADES_MAY and self._blades is None:
            self._blades = field_seen(pixels, self._scale)
            if self._blades is not None:  # nobody told of them
                scale = replace(self._scale, field_px=within(field_of(frame), self._blades))
                told = self._native.follow(pixels, scale, look)
        if told.code == "saturated" and (wide := wider(scale, pixels)) is not None:
            self._scale = wide
            told = self._native.follow(pixels, wide, look)
        if told.code:
            return self._unseen(frame, told.code, mm_per_px)
        self._note_exposure(told.alignment.offset)
        view = self._view(frame, told, mm_per_px)
        self._pace.unseen_s = 0.0
        return view

    def note_steel(self, lines: Sequence[tuple[str, F64]]) -> None:
        """Lines of the last frame (`steel_lines`): the reference is looked at along each, a few times at most."""
        for path_id, line in lines:
            tries = self._steel_tries.get(path_id, 0)
            if tries < _STEEL_TRIES:
                held_mm = _MEAN_CHORD * float(line[4]) * (self._mm_per_px or 0.0)
                found = self._native.steel(np.ascontiguousarray(line[None], np.float64), held_mm)
                self._steel_tries[path_id] = _STEEL_TRIES if found else tries + 1

    def _unfit(self, frame: CementFrame) -> str:
        if frame.pixels.shape != self._reference.picture:
            return "frame_size_changed"
        if frame.pixels.dtype.str != self._reference.kind:
            return "scalar_type_changed"
        if (frame.intensity.relationship == "LIN") != self._reference.linear:
            return "intensity_changed"
        return ""

    def _note_exposure(self, offset: float) -> None:
        self._step_frames = _STEP_FRAMES if abs(offset - self._offset) > _GAIN_STEP else max(self._step_frames - 1, 0)
        self._offset = offset

    def _look(
        self, frame: CementFrame, instruments: Sequence[SeenInstrument], cannulas: F64 | None, expected: U8 | None
    ) -> Look:
        threshold_mm = self._settings.front_threshold_mm
        opacity = self._opacity
        untold = UNTOLD_CONTRAST if self._reference.linear else _DISPLAYED_CONTRAST
        least = untold if opacity is None else float(opacity.contrast_of(threshold_mm))
        if frame.kvp is not None and self._kvp is not None and abs(frame.kvp - self._kvp) > 0.1:
            self._step_frames = _STEP_FRAMES
        self._kvp = frame.kvp if frame.kvp is not None else self._kvp
        return Look(
            time_s=(frame.time_ns - self._started_ns) / _NS,
            least_contrast=max(least, 1e-4),
            contrast_step=0.0 if opacity is None else opacity.step,
            thickness_mm=None if opacity is None else opacity.thickness_mm,
            slope_sigma=_STEP_SLOPE if self._step_frames else _QUIET_SLOPE,
            memory_frames=self._pace.memory_frames,
            growth_frames=self._settings.growth_frames,
            instruments=capsules(instruments),
            cannulas=None if cannulas is None else np.ascontiguousarray(cannulas, np.float64),
            expected=None if expected is None else np.ascontiguousarray(expected, np.uint8),
        )

    def _view(self, frame: CementFrame, told: Looked, mm_per_px: float | None) -> CementView:
        fit, step = told.alignment, self._scale.step
        opacity = self._opacity
        sigma = per_mm = None
        if opacity is not None:
            # Scatter's share counts for more the less primary is left.
            mean_mm = told.thickness_sum_mm_px / max(told.area_px, 1.0)
            contrast = max(float(opacity.contrast_of(mean_mm)), 1e-3)
            scatter = self._scatter_sigma * min(float(np.expm1(contrast)) / contrast, _MOST_SCATTER)
            systematic = told.thickness_sum_mm_px * float(np.hypot(opacity.relative_sigma, scatter))
            sigma = float(np.hypot(systematic, told.noise_sigma_mm_px))
            per_mm = contrast / max(mean_mm, 1e-3 / opacity.per_mm)
        words = f"not seen in this view for {self._pace.unseen_s:.1f} s before" if self._pace.unseen_s > 0.0 else ""
        return CementView(
            device=frame.device,
            sequence=frame.sequence,
            frame_number=frame.frame_number,
            received_ns=frame.received_ns,
            time_s=(frame.time_ns - self._started_ns) / _NS,
            seen=True,
            code="unseen_before" if words else "",
            reason=words,
            pixel_from_patient=frame.pixel_from_patient,
            mm_per_px=mm_per_px,
            mask=told.mask,
            blind=told.blind,
            thickness_mm=told.thickness_mm if opacity is not None else None,
            front_px=told.front_px,
            area_px=told.area_px,
            thickness_sum_mm_px=told.thickness_sum_mm_px if opacity is not None else None,
            thickness_sigma_mm_px=sigma,
            grown=told.grown,
            arrival_s=told.arrival_s,
            front_speed_px_s=told.speed_px_s,
            speed_px_s=told.speed_map_px_s if told.bins else None,
            motion=(fit.du * step, fit.dv * step, float(np.rad2deg(fit.turn))),
            gain=float(np.exp(np.clip(-fit.offset, -20.0, 20.0))),
            noise=told.noise,
            unseen_s=self._pace.unseen_s,
            out_of_picture=told.out_of_picture,
            opacity_per_mm=per_mm,
            opacity_sigma=opacity.relative_sigma if opacity is not None else 0.0,
            scatter_sigma=self._scatter_sigma,
        )

    def _unseen(self, frame: CementFrame, code: str, mm_per_px: float | None) -> CementView:
        return CementView(
            device=frame.device,
            sequence=frame.sequence,
            frame_number=frame.frame_number,
            received_ns=frame.received_ns,
            time_s=(frame.time_ns - self._started_ns) / _NS,
            seen=False,
            code=code,
            reason=REASONS[code],
            pixel_from_patient=frame.pixel_from_patient,
            mm_per_px=mm_per_px,
            unseen_s=self._pace.unseen_s,
        )

    def _on_grid(self, picture: F32) -> F32:
        scale = self._scale
        used = picture[: scale.rows * scale.step, : scale.columns * scale.step]
        binned = used.reshape(scale.rows, scale.step, scale.columns, scale.step).mean(axis=(1, 3), dtype=np.float32)
        return np.asarray(binned, np.float32)

    def _shadow_of(self, thickness_mm: F32, share: F32) -> F32:
        """What known cement adds to the attenuation, scatter as it is."""
        assert self._opacity is not None
        through = np.exp(-self._opacity.contrast_of(thickness_mm))
        return np.asarray(-np.log(share + (1.0 - share) * through), np.float32)


def capsules(instruments: Sequence[SeenInstrument]) -> F64 | None:
    """(N, 5) u0, v0, u1, v1, radius of every piece of every centreline."""
    rows = []
    for seen in instruments:
        line = np.asarray(seen.centreline_px, np.float64)
        radius = (0.5 + _INSTRUMENT_MARGIN) * seen.diameter_px
        rows += [(*a, *b, radius) for a, b in pairwise(line)]
    return np.array(rows, np.float64) if rows else None
