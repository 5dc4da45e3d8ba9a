"""Answers what concerns a volume's pose in pictures, inside the planning process: the small volume, registration."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import numpy as np

from drivers.planning_messages import (
    Answer,
    RegisteredAnswer,
    RegistrationQuestion,
    ViewPicture,
    WatchAnswer,
    WatchQuestion,
)
from guidance.consistency.volume import watch_volume
from guidance.errors import GeometryError
from guidance.planning.volume import PlanningVolume
from guidance.registration.answers import registration_answer
from guidance.registration.values import RegistrationView
from guidance.registration.views import register_views
from guidance.registration.volume import RegistrationVolume, registration_volume
from guidance.tracking.known_metal import known_metal_of


class PoseDesk:
    """Keeps the newest volume ready for registration; called from one thread."""

    def __init__(self) -> None:
        self._ready: tuple[PlanningVolume, RegistrationVolume] | None = None

    def answer(self, question: WatchQuestion | RegistrationQuestion, volume: PlanningVolume) -> Answer:
        """Answer one question.

        Args:
            question: about the volume.
            volume: its voxels; the same object while they are the same.

        Raises:
            GuidanceError: why there is no answer.
        """
        match question:
            case WatchQuestion():
                watch = watch_volume(volume.voxels_hu, volume.affine_lps_from_ijk)
                metal = known_metal_of(volume.voxels_hu, volume.affine_lps_from_ijk)
                with suppress(GeometryError):  # said to whoever asks for a registration; frames are held against it
                    self._prepared(volume)  # before somebody waits for it
                return WatchAnswer(
                    watch,
                    metal_lps_mm=np.ascontiguousarray(metal.points_lps_mm, np.float64).tobytes(),
                    metal_radius_mm=metal.radius_mm,
                )
            case RegistrationQuestion(views=views, start=start):
                begun_s = time.monotonic()
                registration = register_views(
                    self._prepared(volume),
                    [_view_of(picture) for picture in views],
                    start=np.array(start).reshape(4, 4),
                    threads=os.cpu_count() or 1,
                )
                return RegisteredAnswer(registration_answer(registration, round(time.monotonic() - begun_s, 3)))

    def _prepared(self, volume: PlanningVolume) -> RegistrationVolume:
        if self._ready is None or self._ready[0] is not volume:
            self._ready = (volume, registration_volume(volume.voxels_hu, volume.affine_lps_from_ijk))
        return self._ready[1]


def _view_of(picture: ViewPicture) -> RegistrationView:
    shape = (picture.rows, picture.columns)
    return RegistrationView(
        pixels=np.frombuffer(picture.pixels, np.dtype(picture.dtype)).reshape(shape),
        pixel_from_patient=np.array(picture.pixel_from_patient).reshape(3, 4),
        intensity=picture.intensity,
        sign=picture.sign,
        valid=None if picture.valid is None else np.frombuffer(picture.valid, np.bool_).reshape(shape),
        name=picture.name,
    )
