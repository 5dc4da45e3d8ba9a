"""Cement in 3D: views from different directions, at different times, and CT slices put together into one body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from guidance.cement.balloon import BalloonFollower, BalloonState
from guidance.cement.body_lattice import BodyLattice
from guidance.cement.cannula import Cannulas
from guidance.cement.fill import corrected_by_fill, of_rays_and_outlines
from guidance.cement.interval import LEAST_ML, Measured, isocenter_depth_mm, of_one_view, of_views, thickness_sigma
from guidance.cement.kept_views import KeptView, KeptViews, looks_squarely
from guidance.cement.partial_views import front_ahead_mm, incomplete_views, start_hidden
from guidance.cement.prior import Filled, prior_of
from guidance.cement.projection import body_thickness
from guidance.cement.rays import BinnedView, binned
from guidance.cement.slice_view import SliceView
from guidance.cement.slices import CementSlice, Slices
from guidance.cement.space import CementSpace, OpenSpace, opened
from guidance.cement.touching import Body, Measuring
from guidance.cement.turns import Turns
from guidance.cement.what_is_known import (
    CUT_OFF,
    HIDDEN,
    NO_GEOMETRY,
    NO_PLACE,
    NO_THICKNESS,
    NO_VIEW,
    aged,
    of_balloon,
    one_view,
    unknown,
    without_cement,
)
from guidance.cement.zone_fields import ZoneField
from guidance.config import CementSettings
from guidance.kernels.cement_body import BodyFit, BodyFitter
from guidance.messages import F32, F64, U8, CementBody, CementView, PlannedPath
from guidance.tracking.values import SeenInstrument

_NOW_NS: Final = 400_000_000  # views as near in time as this are of one moment: cement flows 1 to 5 mm/s at most


class BodyEstimator:
    """Cement in 3D, updated with each view; one thread.

    Args:
        space: where cement can be; None: no volume, everywhere.
        fields: of the zones.
        settings: section `cement`.
        paths: planned, along which cannulas lie.
    """

    def __init__(
        self,
        space: CementSpace | None,
        fields: Sequence[ZoneField],
        settings: CementSettings,
        *,
        paths: Sequence[PlannedPath] = (),
    ) -> None:
        self._space: OpenSpace | None = opened(space) if space is not None else None
        self._settings = settings
        self._paths = tuple(paths)
        self._lattice = BodyLattice(fields)
        self._views = KeptViews()
        self._turns = Turns()
        self._cannulas = Cannulas()
        self._fitter = BodyFitter()
        self._slices = Slices(self._space)
        self._slice_view = SliceView()
        self._balloon = BalloonFollower()
        self._last: Body | None = None
        self._refused = ""
        self._hidden = False

    def follow_balloon(self, told: bool) -> None:
        """Whether what is new is a balloon full of contrast, as the operator says; its cavity is remembered."""
        self._balloon.told = told

    def expected(self, view: CementView) -> U8 | None:
        """Where cement is expected in a picture like this one: the cavity that a balloon left; None without one."""
        return self._balloon.expected(view)

    def set_fields(self, fields: Sequence[ZoneField]) -> None:
        """Other zones from now on."""
        self._lattice.set_fields(fields)

    def set_paths(self, paths: Sequence[PlannedPath]) -> None:
        """Other paths from now on."""
        self._paths = tuple(paths)

    def registered_anew(self) -> None:
        """Another registration holds from the next view on: where the views before lay in the patient was another's.

        CT slices are in the volume's own frame and stay.
        """
        self._views, self._turns, self._cannulas = KeptViews(), Turns(), Cannulas()
        self._last, self._hidden = None, False

    def add(self, view: CementView, instruments: Sequence[SeenInstrument] = ()) -> None:
        """Take a view in; one that shows nothing (not seen, no geometry) changes nothing.

        Args:
            view: of the tracker; its arrays are kept by reference until a newer one from there comes. One in which
                most of the cement is hidden leaves the one before it in place.
            instruments: seen in the same frame.
        """
        was_there = self._balloon.state is not BalloonState.GONE
        if self._balloon.follow(view) is BalloonState.GONE and was_there:
            self._views, self._turns = KeptViews(), Turns()  # what was seen is the balloon, which is no longer there
            self._last = None
        self._hidden = view.seen and self._views.hidden(view)
        if self._hidden:
            return  # what was seen there before still is
        if not self._views.add(view):
            self._refused = view.reason or NO_GEOMETRY
            return
        self._refused = ""
        newest = self._views.newest
        assert newest is not None
        self._cannulas.see(self._paths, instruments, newest.pixel_from_patient, view.received_ns)

    def looked(self) -> tuple[KeptView, ...]:
        """The views that the body is made from."""
        return self._views.chosen()

    def slice_added(self, one: CementSlice) -> None:
        """Take a CT-fluoroscopy slice in."""
        self._slices.add(one, self._cannulas.now(one.received_ns))

    def body(self, now_ns: int) -> CementBody:
        """What is known now.

        Args:
            now_ns: server's monotonic clock, for ages.
        """
        found = self._cement(now_ns)
        if found.occupancy is None:
            sites = self._slice_view.sites(found.sites, self._slices.shown, self._lattice.distances.fields)
            found = replace(found, sites=sites)
        if self._hidden and found.views:
            found = replace(found, volume_high_ml=None, reason=found.reason or HIDDEN)
        balloon_ml = None
        if self._last is not None and found.occupancy is not None and self._balloon.state is not BalloonState.GONE:
            # Contrast fills a balloon wholly, and has not the cement's opacity: its outlines tell its volume.
            last = self._last
            balloon_ml = last.total_ml / last.full
            self._balloon.filled(last.share, last.first_lps_mm, last.spacing_mm, balloon_ml)
        if self._balloon.state not in (BalloonState.FILLED, BalloonState.EMPTYING):
            cavity = self._balloon.cavity
            gone = self._balloon.state is BalloonState.GONE and cavity is not None
            return replace(found, balloon_ml=cavity.ml) if gone and cavity is not None else found
        emptying = self._balloon.state is BalloonState.EMPTYING
        return of_balloon(self._lattice.distances, found, balloon_ml, hidden_ml=self._hidden_ml, emptying=emptying)

    def unseen(self, body: CementBody, now_ns: int) -> CementBody:
        """The body last told, at a moment whose view does not count."""
        newest = self._views.newest
        if newest is None:
            return body
        return aged(body, (now_ns - newest.view.received_ns) / 1e9, self._turns.fastest_ml_s)

    def _cement(self, now_ns: int) -> CementBody:
        chosen = self._views.chosen()
        if not chosen:
            return unknown(self._lattice.distances, self._refused or NO_VIEW)
        names = tuple(one.name for one in chosen)
        oldest_s = max(max(now_ns - one.view.received_ns, 0) for one in chosen) / 1e9
        views = [self._binned(one) for one in chosen]
        placed = [(one, bins) for one, bins in zip(chosen, views, strict=True) if bins is not None]
        for one, bins in placed:
            self._turns.see(one, bins)
        if not placed:
            hidden = all(start_hidden(one, self._paths) for one in chosen)
            self._last = None
            return without_cement(self._lattice.distances, names, oldest_s, hidden_ml=self._hidden_ml, hidden=hidden)
        if len(placed) == 1:
            # One that shows none beside one that shows some: what is there is too thin for it, or hidden.
            kept, bins = placed[0]
            volume = None if bins.thickness_mm is None else of_one_view(bins, self._space, self._paths)
            if volume is not None:
                volume = self._slice_view.volume(volume, bins, kept.name, self._slices.shown, now_ns)
            return one_view(self._lattice.distances, bins, kept.name, volume, seen_from=len(names), oldest_s=oldest_s)
        return self._fused(placed, now_ns, names, oldest_s)

    def expected_thickness(self, pixel_from_patient: F64, rows: int, columns: int) -> F32 | None:
        """The body as another view would show it: (rows, columns) float32, mm along the rays; None without a body."""
        if self._last is None:
            return None
        body = self._last
        return body_thickness(
            body.share * (body.counted > 0),
            body.first_lps_mm,
            body.spacing_mm,
            np.ascontiguousarray(pixel_from_patient, np.float64),
            rows,
            columns,
        )

    @property
    def _hidden_ml(self) -> float:
        """What is thinner than the threshold everywhere, over a square centimetre."""
        return self._settings.front_threshold_mm * 100.0 / 1000.0

    def _binned(self, kept: KeptView) -> BinnedView | None:
        matrix = kept.pixel_from_patient
        depth = isocenter_depth_mm(kept.view.mm_per_px, matrix)
        if self._last is not None:
            depth = max(float(matrix[2, :3] @ self._last.middle_lps_mm + matrix[2, 3]), 100.0)
        return binned(kept.view, matrix, spacing_mm=self._lattice.spacing_mm, depth_mm=depth)

    def _fused(
        self, placed: Sequence[tuple[KeptView, BinnedView]], now_ns: int, names: tuple[str, ...], oldest_s: float
    ) -> CementBody:
        newest_ns = max(kept.view.received_ns for kept, _ in placed)
        views = [bins for _, bins in placed]
        partly = [newest_ns - kept.view.received_ns > _NOW_NS or bins.front_hidden for kept, bins in placed]
        hidden = all(partly)
        if hidden:
            # Nothing shows all of it now: the latest that showed its front is held to, and there may be more.
            partly[max(range(len(views)), key=lambda n: (not views[n].front_hidden, n))] = False
        fitted = self._fitted(views, partly, newest_ns, now_ns)
        if fitted is None:
            return unknown(self._lattice.distances, NO_PLACE, views=names, oldest_s=oldest_s)
        body, fit = fitted
        incomplete = incomplete_views(fit, views, partly) if body.counted.all() else None
        if incomplete is not None:
            # What one view shows has no room in another's shadow: that one does not show all there is.
            body, fit = self._fitted(views, incomplete, newest_ns, now_ns) or fitted
            partly = incomplete
        self._last = body
        measured = all(bins.thickness_mm is not None for bins in views)
        measuring = Measuring(body, self._lattice.distances)
        if not measured:
            return CementBody(
                views=names,
                sites=measuring.sites(),
                occupancy=body.share,
                affine_lps_from_ijk=body.affine_lps_from_ijk,
                oldest_s=oldest_s,
                reason=NO_THICKNESS,
            )
        volume = of_views(
            [
                Measured(float(mm3) / 1000.0, thickness_sigma(bins), part)
                for mm3, bins, part in zip(fit.volumes_mm3, views, partly, strict=True)
            ]
        )
        squarely = looks_squarely([kept for kept, _ in placed])
        together = of_rays_and_outlines(
            fit.volumes_mm3.tolist(),
            views,
            partly,
            body,
            self._space,
            squarely=squarely,
            ahead=[self._turns.ahead(kept, newest_ns) for kept, _ in placed],
            poses=[self._turns.pose_of(kept) for kept, _ in placed],
            agreements=self._turns.agreements(body.middle_lps_mm),
        )
        by_fill = 1.0
        if together is not None and together.ml is not None:
            by_fill, volume = together.ml / max(body.total_ml, LEAST_ML), together
        elif squarely and not any(partly):
            # Outlines that are old, or from directions that are no right angle, blur the body: it looks less full.
            by_fill, volume = corrected_by_fill(volume, body, self._space)
        factor, volume = self._slices.corrected(volume, body, now_ns)
        factor *= by_fill
        outside = measuring.outside_ml()
        cut_off = all(bins.view.out_of_picture for bins, part in zip(views, partly, strict=True) if not part)
        why = CUT_OFF if cut_off else HIDDEN if hidden or incomplete is not None else ""
        return CementBody(
            views=names,
            volume_ml=None if hidden else volume.ml,
            volume_low_ml=volume.low_ml,
            volume_high_ml=None if why else volume.high_ml,
            sites=measuring.sites(),
            occupancy=body.share,
            affine_lps_from_ijk=body.affine_lps_from_ijk,
            oldest_s=oldest_s,
            outside_ml=None if outside is None else outside * factor,
            reason=why,
        )

    def _fitted(
        self, views: Sequence[BinnedView], partly: Sequence[bool], newest_ns: int, now_ns: int
    ) -> tuple[Body, BodyFit] | None:
        """The body that fits the views, those that show but a part of it as lower bounds; None: it has no place."""
        ahead_mm = front_ahead_mm(views, partly)
        box = self._lattice.box(views, ahead_mm)
        if box is None:
            return None
        first_ijk, grid = box
        prior, counted = prior_of(
            grid,
            first_ijk,
            space=self._space,
            before=self._before(),
            slices=self._slices,
            cannulas=self._cannulas.now(newest_ns),
            now_ns=now_ns,
        )
        rays = [bins.rays(older_mm=mm, spacing_mm=grid.spacing_mm) for bins, mm in zip(views, ahead_mm, strict=True)]
        fit = self._fitter.fit(prior, counted, np.array(grid.origin_lps_mm), grid.spacing_mm, rays)
        return Body(fit.share, counted, first_ijk, grid.spacing_mm), fit

    def _before(self) -> list[Filled]:
        """Cement of the last body, and the cavity of a balloon that is gone, where they are on this lattice."""
        found = []
        cavity = self._balloon.cavity if self._balloon.state is BalloonState.GONE else None
        if cavity is not None and cavity.spacing_mm == self._lattice.spacing_mm:
            first = np.rint(cavity.first_lps_mm / cavity.spacing_mm).astype(np.intp)
            found.append(Filled(cavity.share, first))
        if self._last is not None and self._last.spacing_mm == self._lattice.spacing_mm:
            found.append(Filled(self._last.share, self._last.first_ijk))
        return found
