"""A case followed and scored: the real engine on a short one, and an engine that knows the truth scores full marks."""

import numpy as np
import pytest

from drivers.commands.cement_trial import Trial, failed_row, run_trial
from guidance.config import CementSettings
from guidance.messages import CementBody, CementSeen, CementView
from simulators.cement.case import CementCase

CASE = CementCase(
    seed=10_900,
    leaks=("foramen",),
    rate_ml_s=0.3,
    total_ml=1.2,
    rate_hz=3.0,
    duration_s=4.5,
    breath_mm=1.0,
    move_s=2.5,
    size_px=256,
)


class KnowsAll:
    """Says the truth of every picture, which no engine is given."""

    def __init__(self, trial):
        self.trial, self.frames, self.pictures = trial, [], []
        take = trial.followed.imaging.picture

        def take_and_tell(*which):
            self.pictures.append(take(*which))
            return self.pictures[-1]

        trial.followed.imaging.picture = take_and_tell

    def keep(self, frame):
        self.frames.append(frame)

    def follow(self, run, frame, scene):
        del scene
        self.frames.append(frame)
        followed = self.trial.followed
        shot = followed.shots[frame.sequence]
        mask = (self.pictures[frame.sequence].thickness_mm >= 0.5).astype(np.uint8)
        true_ml = followed.grown.volume_ml(shot.t_s)
        view = CementView(
            device=frame.device,
            sequence=frame.sequence,
            frame_number=frame.frame_number,
            received_ns=frame.received_ns,
            time_s=shot.t_s,
            seen=True,
            mask=mask,
            front_px=_edges(mask),
            area_px=float(mask.sum()),
        )
        body = CementBody(
            views=("A", "B"), volume_ml=true_ml, volume_low_ml=0.9 * true_ml, volume_high_ml=1.1 * true_ml
        )
        return CementSeen(run=run.number, view=view, body=body)


def _edges(mask):
    """Contours through the pixels' borders, each pixel its own: as far off as half a pixel at most."""
    padded = np.pad(mask, 1)
    inner = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    v, u = np.nonzero(mask & (1 - inner))
    return tuple(np.array([[a, b]], np.float64) for a, b in zip(u, v, strict=True))


@pytest.fixture(scope="module")
def known():
    trial = Trial(CASE)
    trial.followed.engine = KnowsAll(trial)
    while not trial.followed.done:
        trial.step()
    return trial


def test_the_truth_scores_full_marks(known):
    row = known.row()
    assert row.dice
    assert min(row.dice) == 1.0
    counts = np.array(row.front_counts)
    assert counts.sum() == 200 * len(row.dice)
    assert counts[: int(0.4 / 0.05)].sum() > 0.95 * counts.sum()  # a pixel of 256 is 0.375 mm
    assert row.first_frames == 0.0
    assert row.unseen == {}
    assert all(told.told_ml == told.true_ml for told in row.volumes)
    assert any(told.true_ml > 0.3 for told in row.volumes)


def test_an_engine_is_told_what_the_stream_tells_and_no_more(known):
    engine = known.followed.engine
    moved = [pair for pair in zip(engine.frames, engine.pictures, strict=True) if pair[1].t_s > 4.0]
    assert moved
    for frame, picture in moved:
        told, true = np.array(frame.pixel_from_patient), np.array(picture.pixel_from_patient)
        assert told == pytest.approx(picture.told_gantry.pixel_from_patient().ravel())
        assert np.abs(told - true).max() > 1e-3  # the patient breathes and has moved, which nobody tells
        assert frame.pixels is picture.pixels


def test_the_engine_finds_cement_in_a_short_case():
    row = run_trial(CASE, CementSettings())
    assert row.failed == ""
    assert np.median(row.dice) > 0.6
    assert row.first_frames is not None
    assert row.first_frames < 5
    assert {told.views for told in row.volumes if told.true_ml > 0.3} == {2}
    assert row.ms_per_frame > 0.0


def test_a_failed_case_misses_everything():
    row = failed_row(CASE, "broken")
    assert row.dice == (0.0,)
    assert [site.site for site in row.sites] == ["foramen"]
    assert not row.sites[0].found
