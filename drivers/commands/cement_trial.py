"""One simulated injection followed, and what is scored of it against its truth."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

import numpy as np

from drivers.commands.cement_figures import BINS, CaseRow, SiteScore, VolumeTold, counts_of
from drivers.commands.cement_followed import FollowedCase, Step
from drivers.commands.cement_scoring import (
    AMOUNT_FRAMES,
    AMOUNT_ML,
    Verdict,
    ZoneTruth,
    along_contours_px,
    dice,
    front_distances_mm,
    leak_warned,
    site_verdict,
    warned,
)
from drivers.commands.cement_truth import (
    Shadows,
    first_time_s,
    frames_between,
    leaked_kinds,
    open_field,
    outside_targets_ml,
    true_front_px,
    zone_truths,
)
from guidance.config import CementSettings
from guidance.messages import F64, AlertKind, CementSeen
from simulators.cement.case import CementCase
from simulators.cement.imaging import CementPicture

SCORED_PER_VIEW: Final = 24  # pictures of each view whose masks are scored
LEAST_MM2: Final = 25.0  # a smaller true shadow is not scored for its mask
VOLUMES: Final = 6  # times at which the volume is scored
_LOST_MM: Final = 1000.0  # a front that was not found at all
_EDGE_PX: Final = 6
_STEADY_PX: Final = 3.0  # half a millimetre: shadows that have moved by less are the same, for they cover 1 mm cells
_LOOKS: Final[dict[str, AlertKind]] = {"vein": "vein", "needle_track": "needle_track"}
_INFORMATION: Final = frozenset({"working_time", "balloon"})


def run_trial(case: CementCase, settings: CementSettings = CementSettings()) -> CaseRow:
    """Follow one case and score it; nothing of its truth goes into what is followed."""
    trial = Trial(case, settings)
    while not trial.followed.done:
        trial.step()
    return trial.row()


class Trial:
    """A case being followed and scored, step by step for whoever wants to look at it.

    Args:
        case: which.
        settings: of the server.
    """

    def __init__(self, case: CementCase, settings: CementSettings = CementSettings()) -> None:
        self.case, self._settings = case, settings
        self.followed = FollowedCase(case, settings)
        shots = self.followed.shots
        self._scored = _evenly([(n, shot.view_index) for n, shot in enumerate(shots) if shot.t_s >= 0.0])
        self._volume_times = [shots[-1].t_s * (n + 1) / VOLUMES for n in range(VOLUMES)]
        self._shadows: dict[tuple[int, int, int], Shadows] = {}
        self.dice: list[tuple[float, int, float]] = []
        self._counts: list[F64] = []
        self._volumes: list[VolumeTold] = []
        self._overlaps_s: dict[str, float] = {}
        self._unseen: Counter[str] = Counter()
        self._times_s: list[float] = []
        self._spent_s: list[float] = []
        self._seen_s: float | None = None
        self._border_s: float | None = None
        self._number = -1

    def step(self) -> Step:
        """Follow the next frame, and score what is said of it."""
        step = self.followed.step()
        self._number += 1
        if step.seen is None:
            return step
        picture = step.picture
        self._spent_s.append(step.spent_s)
        self._times_s.append(picture.t_s)
        if not step.seen.view.seen:
            self._unseen[step.seen.view.code] += 1
        elif self._number in self._scored:
            self._score_picture(step, step.seen)
        self._note_truths(step, step.seen)
        while self._volume_times and picture.t_s >= self._volume_times[0]:
            self._volume_times.pop(0)
            self._score_volume(picture.t_s)
        return step

    def row(self) -> CaseRow:
        """The scores of all that was followed."""
        case, grown, times_s = self.case, self.followed.grown, self._times_s
        truths = zone_truths(grown, times_s[-1], self._overlaps_s)
        sites = self._sites(truths)
        outside = [leak.tenth_ml_s for leak in grown.leaks if leak.tenth_ml_s <= times_s[-1]]
        warnings = [site.warned_s for site in sites if site.warned_s is not None]
        tenth_s = first_time_s(times_s, [grown.volume_ml(time) for time in times_s], AMOUNT_ML)
        return CaseRow(
            name=str(case.seed),
            seed=case.seed,
            patient=f"{case.patient}, {case.place}",
            leaks=tuple(case.leaks),
            dose=case.dose,
            rate_hz=case.rate_hz,
            brand=case.brand,
            views=case.views,
            disturbances=disturbances_of(case),
            frames=len(times_s),
            duration_s=times_s[-1],
            dice=tuple(sorted(value for _, _, value in self.dice)),
            front_counts=tuple(np.sum(self._counts, axis=0).tolist()) if self._counts else (0.0,) * BINS,
            volumes=tuple(self._volumes),
            sites=sites,
            warnings=self._verdicts(truths),
            outside_frames=frames_between(min(outside), min(warnings, default=None), times_s) if outside else None,
            first_frames=None if tenth_s is None else frames_between(tenth_s, self._seen_s, times_s),
            unseen=dict(self._unseen),
            ms_per_frame=1e3 * float(np.mean(self._spent_s)),
        )

    def _score_picture(self, step: Step, seen: CementSeen) -> None:
        picture, threshold_mm = step.picture, self._settings.front_threshold_mm
        mm_per_px = _mm_per_px(picture)
        visible = self._open_field(step)
        true = (picture.thickness_mm >= threshold_mm) & visible
        if float(np.count_nonzero(true)) * mm_per_px**2 < LEAST_MM2:
            return
        mask = np.zeros_like(true) if seen.view.mask is None else seen.view.mask.astype(np.bool_) & visible
        self.dice.append((picture.t_s, step.view_index, dice(mask, true)))
        found = along_contours_px(seen.view.front_px)
        away = front_distances_mm(found, true_front_px(picture.thickness_mm, threshold_mm, visible), mm_per_px)
        self._counts.append(counts_of(away if len(away) else np.full(200, _LOST_MM)))

    def _score_volume(self, t_s: float) -> None:
        body = self.followed.progress.body
        self._volumes.append(
            VolumeTold(
                t_s=t_s,
                true_ml=self.followed.grown.volume_ml(t_s),
                told_ml=body.volume_ml,
                low_ml=body.volume_low_ml,
                high_ml=body.volume_high_ml,
                views=len(body.views),
            )
        )

    def _note_truths(self, step: Step, seen: CementSeen) -> None:
        """What this picture truly shows of zones and of its border, and whether any of the cement is seen."""
        picture = step.picture
        true = picture.thickness_mm >= self._settings.front_threshold_mm
        matrix = picture.gantry.pixel_from_patient()
        tip = matrix @ np.append(self.followed.grown.cannula.tip_lps_mm, 1.0)
        key = (step.view_index, round(tip[0] / tip[2] / _STEADY_PX), round(tip[1] / tip[2] / _STEADY_PX))
        if key not in self._shadows:
            self._shadows[key] = Shadows(self.followed.surfaces, matrix, picture.pixels.shape)
        for zone_id in self._shadows[key].overlapping(true):
            self._overlaps_s.setdefault(zone_id, picture.t_s)
        if self._seen_s is None and seen.view.mask is not None and bool((seen.view.mask.astype(bool) & true).any()):
            self._seen_s = picture.t_s
        if self._border_s is None and bool((true & ~self._open_field(step, _EDGE_PX)).any()):
            self._border_s = picture.t_s

    def _gap(self) -> bool:
        """Whether the C-arm took no picture for a while, and it is right to say so."""
        limit_s = max(self._settings.gap_s, 3.0 / self.case.rate_hz)
        return bool(np.any(np.diff([0.0, *self._times_s]) > limit_s))

    def _open_field(self, step: Step, margin_px: int = 3) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        box = self.followed.imaging.views[step.view_index].blades_at(step.picture.t_s)
        rows, columns = step.picture.pixels.shape
        if box is None and margin_px > 3:
            box = (0, 0, columns - 1, rows - 1)
        return open_field((rows, columns), box, margin_px)

    def _sites(self, truths: tuple[ZoneTruth, ...]) -> tuple[SiteScore, ...]:
        """Every true contact, with zone or without."""
        grown, alerts, until_s = self.followed.grown, list(self.followed.alerts.values()), self._times_s[-1]
        frames_s = AMOUNT_FRAMES / self.case.rate_hz
        amounts = {leak.zone_id: leak.tenth_ml_s + frames_s for leak in grown.leaks if math.isfinite(leak.tenth_ml_s)}
        found = []
        for zone in truths:
            if zone.first_contact_s is None:
                continue
            warned_s = warned(alerts, zone)
            found.append(
                SiteScore(
                    site=zone.site.value,
                    zone_id=zone.zone_id,
                    contact_s=zone.first_contact_s,
                    amount_s=amounts.get(zone.zone_id),
                    warned_s=warned_s,
                    distance_mm=self._distance_mm(zone.zone_id, warned_s),
                )
            )
        for leak in grown.leaks:
            if leak.zone_id or leak.onset_s > until_s:
                continue
            warned_s = leak_warned(alerts, _LOOKS.get(leak.kind, "outside_plan"), leak.onset_s)
            found.append(
                SiteScore(
                    site=leak.kind,
                    zone_id="",
                    contact_s=leak.onset_s,
                    amount_s=leak.tenth_ml_s + frames_s if math.isfinite(leak.tenth_ml_s) else None,
                    warned_s=warned_s,
                    distance_mm=None if warned_s is None else 0.0,
                )
            )
        return tuple(found)

    def _distance_mm(self, zone_id: str, t_s: float | None) -> float | None:
        """Of the cement to a zone at a time; None before there is any."""
        distance_mm = math.inf if t_s is None else self.followed.grown.zone_distance_mm(zone_id, t_s)
        return max(0.0, distance_mm) if math.isfinite(distance_mm) else None

    def _outside_plan(self) -> bool:
        """Whether without a leak, too, cement went beyond the region that is marked for it."""
        grown = self.followed.grown
        share = grown.share_at(self._times_s[-1])
        return outside_targets_ml(share, grown.affine_lps_from_ijk, grown.zones) >= AMOUNT_ML

    def _verdicts(self, truths: tuple[ZoneTruth, ...]) -> tuple[tuple[str, str, str], ...]:
        """Whether each alert had a reason."""
        zones = {zone.zone_id: zone for zone in truths}
        leaked = leaked_kinds(self.followed.grown.leaks, self._times_s[-1])
        found: list[tuple[str, str, str]] = []
        for alert in self.followed.alerts.values():
            verdict: Verdict = "not judged"
            if alert.kind == "site":
                verdict = site_verdict(alert, zones.get(alert.zone_id), near_mm=self._settings.approaching_mm)
            elif alert.kind in ("vein", "needle_track"):
                verdict = "true" if alert.kind in leaked else "false"
            elif alert.kind == "outside_plan":
                verdict = "true" if leaked or self._outside_plan() else "false"
            elif alert.kind == "out_of_picture":
                verdict = "true" if self._border_s is not None else "false"
            elif alert.kind == "tracking_lost":
                verdict = "true" if self.case.hand_s is not None or self._gap() else "false"
            elif alert.kind not in _INFORMATION:
                verdict = "false"
            found.append((alert.kind, alert.zone_id, verdict))
        return tuple(found)


def failed_row(case: CementCase, words: str) -> CaseRow:
    """Of a case that an error ended: nothing was said of anything."""
    return CaseRow(
        name=str(case.seed),
        seed=case.seed,
        patient=f"{case.patient}, {case.place}",
        leaks=tuple(case.leaks),
        dose=case.dose,
        rate_hz=case.rate_hz,
        brand=case.brand,
        views=case.views,
        disturbances=disturbances_of(case),
        frames=0,
        duration_s=0.0,
        dice=(0.0,),
        front_counts=tuple(counts_of(np.full(200, _LOST_MM)).tolist()),
        volumes=(),
        sites=tuple(
            SiteScore(site=kind, zone_id="", contact_s=0.0, amount_s=None, warned_s=None, distance_mm=None)
            for kind in case.leaks
        ),
        warnings=(),
        outside_frames=math.inf if case.leaks else None,
        first_frames=math.inf,
        unseen={},
        ms_per_frame=0.0,
        failed=words,
    )


def disturbances_of(case: CementCase) -> tuple[str, ...]:
    """What else happens in a case than cement that flows and a patient who breathes."""
    happens = {
        "patient moves": case.move_s is not None,
        "table pan": case.pan_s is not None,
        "blades close": case.blades_s is not None,
        "voltage step": case.kvp_step_s is not None,
        "hand": case.hand_s is not None,
        "cannula withdrawn": case.withdraw_s is not None,
        "balloon first": case.balloon_s is not None,
        "old cement": case.old_cement,
        "metal beside": case.metal,
    }
    return tuple(name for name, there in happens.items() if there)


def _evenly(numbers: list[tuple[int, int]]) -> frozenset[int]:
    """So many shots of each view, evenly over its time, the last one always."""
    found: set[int] = set()
    for view in {view for _, view in numbers}:
        own = [n for n, of_view in numbers if of_view == view]
        places = np.linspace(len(own) - 1, 0, min(SCORED_PER_VIEW, len(own))).round().astype(int)
        found |= {own[place] for place in places}
    return frozenset(found)


def _mm_per_px(picture: CementPicture) -> float:
    """At the isocentre's depth."""
    gantry = picture.gantry
    pitch_mm = math.sqrt(gantry.pitch_row_mm * gantry.pitch_column_mm)
    return pitch_mm * gantry.source_to_isocenter_mm / gantry.source_to_detector_mm
