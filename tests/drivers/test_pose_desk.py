"""The small volume is made of whatever was sent, also of what nothing can be registered to."""

import numpy as np
import pytest

from drivers.planning_messages import RegistrationQuestion, WatchAnswer, WatchQuestion
from drivers.pose_desk import PoseDesk
from guidance.errors import GeometryError
from guidance.planning.volume import PlanningVolume
from tests.helpers.live_session import ready_volume


@pytest.mark.parametrize(
    ("shape", "spacing_mm"),
    [
        pytest.param((1, 64, 64), 2.0, id="one slice"),
        pytest.param((40, 40, 40), 0.01, id="half a millimetre"),
        pytest.param((20, 20, 20), 2.0, id="nothing but air"),
    ],
)
def test_frames_are_held_against_a_volume_that_nothing_can_be_registered_to(shape: tuple, spacing_mm: float) -> None:
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    volume = PlanningVolume(
        voxels_hu=np.full(shape, -1000, np.int16),
        affine_lps_from_ijk=affine,
        frame_of_reference_uid="1.2.3",
        patient_position="HFS",
    )
    desk = PoseDesk()
    question = WatchQuestion(volume=ready_volume())
    assert isinstance(desk.answer(question, volume), WatchAnswer)
    with pytest.raises(GeometryError):
        desk.answer(RegistrationQuestion(volume=ready_volume(), views=(), start=(0.0,) * 16), volume)
