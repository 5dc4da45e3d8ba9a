"""Frames over time: smoothing, causes, breathing, drift and jumps; and what the verdict becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest

from guidance.config import ConsistencySettings
from guidance.consistency import ConsistencyTrack, Measurement, judged_with_check, observe
from guidance.messages import CheckState, GeometryState, GeometryVerdict, ImageCheck, PatientMotion

SETTINGS = ConsistencySettings()
RATE_HZ = 15.0
MATRIX = tuple(float(n) for n in range(12))


def seen(u_mm: float = 0.0, v_mm: float = 0.0, *, noise_mm: float = 0.1) -> Measurement:
    off = float(np.hypot(u_mm, v_mm))
    return Measurement(
        picture_shows=0.95,
        projection_shows=0.15,
        xray_like=True,
        compared=0.14,
        similarity=0.8,
        offset=(u_mm, v_mm, 0.0, 0.0, 0.0, 0.0),
        residual_px=off * 3.0,
        residual_mm=off,
        sigma_mm=noise_mm,
        shift_mm=(u_mm, v_mm),
        magnified=(1.0, 0.002),
    )


NOTHING_FITS = replace(
    seen(),
    similarity=0.12,
    offset=None,
    residual_mm=None,
    residual_px=None,
    sigma_mm=None,
    shift_mm=None,
    magnified=None,
)


def followed(
    measurements: Iterable[Measurement], track: ConsistencyTrack | None = None, *, moved: bool = False
) -> list[ConsistencyTrack]:
    tracks = []
    track = track or ConsistencyTrack()
    start_ns = track.at_ns or 10**12
    for n, measurement in enumerate(measurements, 1):
        received_ns = start_ns + round(n / RATE_HZ * 1e9)
        track = observe(track, measurement, received_ns=received_ns, moved=moved, settings=SETTINGS)
        tracks.append(track)
    return tracks


def course(seconds: float, place: Callable[[float], tuple[float, float]], noise_mm: float = 0.1) -> list[Measurement]:
    rng = np.random.default_rng(3)
    times = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return [seen(*(np.array(place(t)) + rng.normal(0.0, noise_mm, 2)).tolist()) for t in times]


def test_a_still_patient_agrees_and_is_still() -> None:
    tracks = followed(course(20.0, lambda _: (0.2, -0.1)))
    assert {track.check.state for track in tracks} == {CheckState.AGREES}
    last = tracks[-1].check
    assert last.motion is PatientMotion.STILL
    assert last.breathing_mm is None
    assert last.residual_mm == pytest.approx(0.25, abs=0.1)
    assert not last.registration_offered


@pytest.mark.parametrize("per_minute", [9.0, 14.0, 20.0, 28.0])
@pytest.mark.parametrize("peak_to_peak_mm", [1.2, 4.0])
def test_breathing_is_told_with_its_size(per_minute: float, peak_to_peak_mm: float) -> None:
    def place(t: float) -> tuple[float, float]:
        wave = np.sin(2.0 * np.pi * per_minute / 60.0 * t) * peak_to_peak_mm / 2.0
        return 0.3 * wave + 0.2, 0.95 * wave

    last = followed(course(18.0, place))[-1].check
    assert last.motion is PatientMotion.BREATHING
    assert last.breathing_mm == pytest.approx(peak_to_peak_mm, rel=0.15, abs=0.1)


def test_drift_is_no_breathing_and_warns_before_it_contradicts() -> None:
    tracks = followed(course(30.0, lambda t: (0.0, 0.1 * t)))
    states = [track.check.state for track in tracks]
    warned, contradicted = states.index(CheckState.WARNING), states.index(CheckState.CONTRADICTS)
    assert 7.0 < warned / RATE_HZ < 14.0
    assert warned < contradicted
    assert 18.0 < contradicted / RATE_HZ < 26.0
    assert CheckState.AGREES not in states[warned:]
    assert tracks[warned + 30].check.motion is PatientMotion.DRIFT
    assert tracks[warned].check.registration_offered
    assert tracks[warned].check.code == "patient_moved"


def test_a_jump_contradicts_in_its_own_frame_and_is_named() -> None:
    tracks = followed([*course(5.0, lambda _: (0.0, 0.0)), seen(3.0, 1.0)])
    check = tracks[-1].check
    assert tracks[-2].check.state is CheckState.AGREES
    assert check.state is CheckState.CONTRADICTS
    assert check.motion is PatientMotion.JUMP
    assert check.code == "patient_moved"
    assert check.registration_offered
    assert check.raw_mm == pytest.approx(3.16, abs=0.01)
    after = followed(course(1.0, lambda _: (3.0, 1.0)), tracks[-1])
    assert {track.check.state for track in after} == {CheckState.CONTRADICTS}


def test_a_jump_back_is_believed_soon_but_not_at_once() -> None:
    tracks = followed(course(2.0, lambda _: (3.0, 0.0)))
    back = followed(course(4.0, lambda _: (0.0, 0.0)), tracks[-1])
    states = [track.check.state for track in back]
    assert states[0] is CheckState.CONTRADICTS
    assert CheckState.AGREES in states
    assert states.index(CheckState.AGREES) / RATE_HZ < 1.5
    assert states[-1] is CheckState.AGREES


def test_noise_alone_raises_nothing_hard() -> None:
    rng = np.random.default_rng(5)
    noisy = [seen(*rng.normal(0.0, 0.7, 2).tolist(), noise_mm=0.7) for _ in range(300)]
    states = {track.check.state for track in followed(noisy)}
    assert CheckState.CONTRADICTS not in states


def test_one_frame_above_the_warning_limit_marks_that_frame() -> None:
    tracks = followed([*course(3.0, lambda _: (0.1, 0.0)), seen(1.6)])
    assert tracks[-1].check.state is CheckState.WARNING


def test_while_the_pose_moves_no_breathing_is_made_up() -> None:
    tracks = followed(course(10.0, lambda t: (0.2 * np.sin(t), 0.0)), moved=True)
    assert tracks[-1].check.motion is None
    assert tracks[-1].check.state is CheckState.AGREES


def test_what_never_agreed_is_not_this_volume_and_what_did_has_moved() -> None:
    [first] = followed([NOTHING_FITS])
    assert (first.check.state, first.check.code) == (CheckState.CONTRADICTS, "picture_not_of_this_volume")
    assert not first.check.registration_offered
    later = followed([*course(1.0, lambda _: (0.0, 0.0)), NOTHING_FITS])[-1]
    assert (later.check.state, later.check.code) == (CheckState.CONTRADICTS, "geometry_contradicts_picture")
    assert later.check.registration_offered
    assert later.check.residual_mm is None


def test_what_is_no_x_ray_picture_says_nothing_until_one_has_agreed() -> None:
    drawn = replace(NOTHING_FITS, xray_like=False)
    [first] = followed([drawn])
    assert first.check.state is CheckState.CANNOT_TELL
    after = followed([*course(1.0, lambda _: (0.0, 0.0)), drawn])[-1]
    assert after.check.state is CheckState.CONTRADICTS
    blank = followed([*course(1.0, lambda _: (0.0, 0.0)), replace(drawn, picture_shows=0.1)])[-1]
    assert blank.check.state is CheckState.CANNOT_TELL
    assert "not verified" in blank.check.reason


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"arranged": "mirrored"}, "picture_mirrored"),
        ({"arranged": "turned_180"}, "picture_turned"),
        ({"arranged": "transposed"}, "picture_transposed"),
        ({"scaled": 1.5}, "picture_of_other_scale"),
    ],
)
def test_causes_are_named(change: dict[str, object], code: str) -> None:
    [track] = followed([replace(NOTHING_FITS, **change)])
    assert (track.check.state, track.check.code) == (CheckState.CONTRADICTS, code)
    assert not track.check.registration_offered


def test_another_arrangement_counts_even_where_a_motion_agrees() -> None:
    [track] = followed([replace(seen(0.3), similarity=0.58, arranged="mirrored")])
    assert track.check.code == "picture_mirrored"


def test_another_scale_is_no_patient_motion() -> None:
    larger = replace(seen(2.6), magnified=(1.1, 0.004))
    [track] = followed([larger])
    assert (track.check.state, track.check.code) == (CheckState.CONTRADICTS, "picture_of_other_scale")
    assert "10 % larger" in track.check.reason
    [marked] = followed([replace(seen(1.6), magnified=(1.021, 0.002))])
    assert (marked.check.state, marked.check.code) == (CheckState.WARNING, "picture_of_other_scale")


def test_a_half_hidden_picture_is_read_leniently_after_agreement() -> None:
    hidden = replace(seen(0.3, noise_mm=0.3), similarity=0.47, xray_like=False)
    assert followed([hidden])[-1].check.state is CheckState.CANNOT_TELL
    assert followed([replace(hidden, xray_like=True)])[-1].check.state is CheckState.WARNING
    assert followed([*course(1.0, lambda _: (0.0, 0.0)), hidden])[-1].check.state is CheckState.AGREES


@pytest.mark.parametrize(
    "measurement",
    [
        Measurement(picture_shows=0.0, projection_shows=0.2, xray_like=False),
        Measurement(picture_shows=0.9, projection_shows=0.01, xray_like=True, similarity=0.9, residual_mm=9.0),
        replace(seen(5.0), compared=0.01),
        replace(seen(3.0), sigma_mm=1.5),
    ],
)
def test_too_little_to_compare_is_said(measurement: Measurement) -> None:
    [track] = followed([measurement])
    assert track.check.state is CheckState.CANNOT_TELL
    assert track.check.residual_mm is None
    assert track.check.reason.startswith("not verified")


@pytest.mark.parametrize(("residual_mm", "sigma_mm"), [(13.9, 1.84), (6.0, 1.5), (4.0, 1.2)])
def test_what_is_far_off_counts_however_badly_it_is_known_how_far(residual_mm: float, sigma_mm: float) -> None:
    far = replace(seen(residual_mm, noise_mm=sigma_mm), similarity=0.6)
    [first] = followed([far])
    assert (first.check.state, first.check.code) == (CheckState.CONTRADICTS, "patient_moved")
    after = followed([*course(1.0, lambda _: (0.0, 0.0)), far])[-1]
    assert after.check.state in (CheckState.WARNING, CheckState.CONTRADICTS)
    assert after.check.code == "patient_moved"


def test_a_clock_that_goes_back_or_far_ahead_breaks_nothing() -> None:
    track = ConsistencyTrack()
    for received_ns in (10**12, 10**12 - 10**10, 10**9, 10**15, 10**15):
        track = observe(track, seen(0.2), received_ns=received_ns, moved=False, settings=SETTINGS)
        assert track.check.state is CheckState.AGREES
        assert track.check.residual_mm is not None


TRUSTED = GeometryVerdict(state=GeometryState.TRUSTED, pixel_from_patient=MATRIX, source="metadata_matrix")


@pytest.mark.parametrize(
    ("told", "state", "becomes"),
    [
        (GeometryState.TRUSTED, CheckState.AGREES, GeometryState.TRUSTED),
        (GeometryState.TRUSTED, CheckState.CANNOT_TELL, GeometryState.TRUSTED),
        (GeometryState.TRUSTED, CheckState.WARNING, GeometryState.DEGRADED),
        (GeometryState.TRUSTED, CheckState.CONTRADICTS, GeometryState.WITHHELD),
        (GeometryState.DEGRADED, CheckState.AGREES, GeometryState.DEGRADED),
        (GeometryState.DEGRADED, CheckState.CONTRADICTS, GeometryState.WITHHELD),
    ],
)
def test_the_picture_never_betters_a_verdict(told: GeometryState, state: CheckState, becomes: GeometryState) -> None:
    check = ImageCheck(state=state, code="why", reason="because")
    verdict = judged_with_check(replace(TRUSTED, state=told), check)
    assert verdict.state is becomes
    assert verdict.check is check
    assert (verdict.pixel_from_patient is None) is (becomes is GeometryState.WITHHELD)
    if becomes is not told:
        assert (verdict.code, verdict.reason) == ("why", "because")


def test_what_is_withheld_stays_with_its_own_reason() -> None:
    withheld = GeometryVerdict(state=GeometryState.WITHHELD, reason="HELD", code="held")
    check = ImageCheck(state=CheckState.CONTRADICTS, code="patient_moved", reason="moved")
    assert judged_with_check(withheld, check) == replace(withheld, check=check)
