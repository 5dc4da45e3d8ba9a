"""`guidance bench drr`: radiographs from CT beside other CPU projectors, a closed form and one pass over the volume."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from drivers.commands.bench_report import percentile, report
from drivers.commands.charts import Reference, bars_chart
from drivers.commands.drr_peers import INTERPRETER, DrrPeers
from drivers.commands.drr_phantom import SPAN_MM, affine_of, truth_of, voxels_of
from guidance.kernels.drr import Backend, Method, ProjectionVolume, cone_projection, projection_method
from guidance.messages import F64
from simulators.gantry import Gantry

EDGE: Final = 256
SIZES: Final = (256, 512)
SMALL: Final = ((64, 64), (128, 64), (128, 128), (128, 256))  # (edge, pixels): registration's
VIEWS_DEG: Final = ((0.0, 0.0), (20.0, 15.0), (45.0, 10.0), (90.0, 0.0), (-35.0, -25.0), (180.0, 12.0))
QUICK_VIEWS_DEG: Final = ((0.0, 0.0), (20.0, 15.0), (90.0, 0.0))
SLOW_MS: Final = 800.0
RIM_VOXELS: Final = 1.5
FIELD_MM: Final = 320.0  # of the detector: the volume fills two thirds of it or more
_RANDOM_VIEWS: Final = 1000
_SEED: Final = 20260109

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Way:
    """One of our ways to the same picture."""

    method: Method
    dtype: str = "int16"
    backend: Backend = "native"
    threads: int = 1
    wall: bool = False


_WAYS: Final = {
    "auto": _Way("auto"),
    "auto_float32": _Way("auto", dtype="float32"),
    "auto_avx2": _Way("auto", backend="avx2"),
    "auto_portable": _Way("auto", backend="portable"),
    "auto_one_thread_wall": _Way("auto", wall=True),
    "auto_two_threads_wall": _Way("auto", threads=2, wall=True),
    "rays": _Way("rays"),
    "rays_float32": _Way("rays", dtype="float32"),
}


def run_drr(*, quick: bool) -> dict[str, Any]:
    """One channel, one thread unless said; CPU time of alternating rounds, medians over rounds, then over views.

    Figures: `ms_<size>_from_<edge>` (int16, `auto`), the same with `_float32`, `_avx2`, `_portable`, `_rays`,
    `_two_threads_wall` (beside it `_one_thread_wall`); per peer `<peer>_ms_<size>`. `speedup_vs_best_peer`: the least
    over the sizes. Errors against the closed form in % of its largest value, the worst of the views:
    `rms_error_percent_<size>` and `max_error_percent_<size>` over all pixels, `clear_error_percent_<size>` the largest
    where rays stay RIM_VOXELS clear of being tangent to an ellipsoid; beside each the peers'. `max_relative_error` is
    the last as a fraction. `difference_percent_<size>_<peer>`: rms of the pictures' difference. `memory_pass_ms`:
    reading the int16 volume once, in the same rounds; `ratio_vs_memory_pass_<size>` to that. The phantom leaves three
    quarters of its cube empty, which only we skip: `ms_<size>_full` is a volume without an empty voxel,
    `speedup_<size>_full` its time beside the best peer's. A peer that takes longer than SLOW_MS is timed once per view;
    quick, once in all.
    """
    views = QUICK_VIEWS_DEG if quick else VIEWS_DEG
    rounds = 2 if quick else 7
    voxels = voxels_of(EDGE)
    with tempfile.TemporaryDirectory() as folder, DrrPeers(voxels, affine_of(EDGE), Path(folder)) as peers:
        race = _Race(voxels, peers, quick=quick)
        for size in SIZES:
            for view in views:
                race.run(view, size, rounds)
        figures = race.figures()
        versions, absent = peers.versions, peers.absent
    figures |= _small_figures(rounds)
    figures |= _saved_figures(rounds)
    for size in SIZES:  # the phantom leaves three quarters of its cube empty; the peers skip nothing
        if f"speedup_{size}" in figures:
            best_ms = figures[f"speedup_{size}"] * figures[f"ms_{size}_from_{EDGE}"]
            figures[f"speedup_{size}_full"] = best_ms / figures[f"ms_{size}_full"]
    figures["shear_warp_share_of_random_views"] = _factorised_share(voxels)
    return report(
        "drr",
        settings={
            "edge": EDGE,
            "sizes_px": list(SIZES),
            "views_deg": [list(view) for view in views],
            "field_mm": FIELD_MM,
            "rounds": rounds,
            "peers": versions,
            "peers_absent": absent,
            "peers_python": f"{INTERPRETER} names the Python of an environment that has them",
            "aims": "speedup_vs_best_peer >= 30; rms_error_percent within 0.05 of the best peer's",
            "time": "CPU time of one thread; *_wall: wall time",
        },
        figures=figures,
        series={"views": race.rows},
    )


class _Race:
    """Times all the ways to each picture in turns, so that a neighbour's load falls on all alike."""

    def __init__(self, voxels: F32, peers: DrrPeers, *, quick: bool) -> None:
        self._peers = peers
        self._quick = quick
        self._slow: set[str] = set()
        self._whole = np.rint(voxels).astype(np.int16)
        affine = affine_of(EDGE)
        self._volumes = {
            "int16": ProjectionVolume(self._whole, affine, air=0),
            "float32": ProjectionVolume(self._whole.astype(np.float32), affine, air=0),
        }
        self.rows: list[dict[str, Any]] = []

    def run(self, view_deg: tuple[float, float], size: int, rounds: int) -> None:
        """One view at one size: a row of medians and errors."""
        matrix = matrix_of(view_deg, size)
        shape = (size, size)
        out = np.empty((1, size, size), np.float32)
        times: dict[str, list[float]] = {}
        pictures: dict[str, npt.NDArray[Any]] = {}

        def note(name: str, job: Callable[[], Any], clock: Callable[[], int]) -> None:
            begun = clock()
            job()
            times.setdefault(name, []).append((clock() - begun) / 1e6)

        slow_ms: dict[str, float] = {}
        words = self._whole.view(np.int64)
        for number in range(rounds + 1):
            if number == 1:
                times.clear()  # the first round only warms caches
            note("memory_pass", words.max, time.thread_time_ns)
            for name, way in _WAYS.items():
                project = partial(
                    cone_projection,
                    self._volumes[way.dtype],
                    matrix,
                    shape,
                    threads=way.threads,
                    out=out,
                    method=way.method,
                    backend=way.backend,
                )
                note(name, project, time.perf_counter_ns if way.wall else time.thread_time_ns)
                pictures[name] = out[0].copy()
            for peer in self._peers.versions:
                if peer in self._slow and (self._quick or peer in times or number == 0):
                    continue
                made = self._peers.project(peer, matrix, shape)
                times.setdefault(peer, []).append(made.cpu_ms)
                pictures[peer] = made.picture
                if made.cpu_ms > SLOW_MS:
                    self._slow.add(peer)
                    slow_ms[peer] = made.cpu_ms
        for peer, ms in slow_ms.items():
            times.setdefault(peer, [ms])
        told = truth_of(matrix, shape, RIM_VOXELS * SPAN_MM / EDGE)
        truth, largest = told.integrals, told.integrals.max()
        row: dict[str, Any] = {"view_deg": list(view_deg), "size_px": size}
        row["method"] = projection_method(self._volumes["int16"], matrix, shape).method
        row["ms"] = {name: percentile(values, 50.0) for name, values in times.items()}
        row["rms_error"] = {name: 100.0 * _rms(one - truth) / largest for name, one in pictures.items()}
        row["max_error"] = {name: 100.0 * np.abs(one - truth).max() / largest for name, one in pictures.items()}
        row["clear_error"] = {
            name: 100.0 * np.abs(one - truth)[told.clear].max() / largest for name, one in pictures.items()
        }
        row["difference"] = {
            name: 100.0 * _rms(one - pictures["auto"]) / largest for name, one in pictures.items() if name != "auto"
        }
        self.rows.append(row)

    def figures(self) -> dict[str, Any]:
        """Medians over views of times, the worst of the views' errors."""
        figures: dict[str, Any] = {}
        speedups: list[float] = []
        for size in SIZES:
            rows = [row for row in self.rows if row["size_px"] == size]

            def over_views(key: str, name: str, rows: list[dict[str, Any]] = rows) -> list[float]:
                return [row[key][name] for row in rows if name in row[key]]

            ms = {name: percentile(over_views("ms", name), 50.0) for name in ("memory_pass", *_WAYS)}
            peers = [peer for peer in self._peers.versions if over_views("ms", peer)]
            for name in _WAYS:
                figures[f"ms_{size}_from_{EDGE}{name.removeprefix('auto')}".replace("rays", "_rays")] = ms[name]
            for peer in peers:
                figures[f"{peer}_ms_{size}"] = ms[peer] = percentile(over_views("ms", peer), 50.0)
            figures["memory_pass_ms"] = ms["memory_pass"]
            figures[f"ratio_vs_memory_pass_{size}"] = (ms["auto"] or 0.0) / (ms["memory_pass"] or 1.0)
            for name in ("auto", "rays", *peers):
                ending = "" if name == "auto" else f"_{name}"
                for error in ("rms_error", "max_error", "clear_error", "difference"):
                    found = over_views(error, name)
                    if found:
                        figures[f"{error}_percent_{size}{ending}"] = max(found)
            if peers:
                best = min(peers, key=lambda peer: ms[peer] or 0.0)
                speedups.append((ms[best] or 0.0) / (ms["auto"] or 1.0))
                figures[f"speedup_{size}"] = speedups[-1]
                both = zip(over_views("rms_error", "auto"), over_views("rms_error", best), strict=True)
                figures[f"rms_excess_percent_{size}"] = max(ours - theirs for ours, theirs in both)
        figures["speedup_vs_best_peer"] = min(speedups, default=None)
        figures["max_relative_error"] = max(figures[f"clear_error_percent_{size}"] for size in SIZES) / 100.0
        return figures


def _small_figures(rounds: int) -> dict[str, Any]:
    """What registration and the frame check ask for: few voxels, few pixels."""
    figures: dict[str, Any] = {}
    for edge, size in SMALL:
        volume = ProjectionVolume(np.rint(voxels_of(edge)).astype(np.int16), affine_of(edge), air=0)
        matrix = matrix_of((20.0, 15.0), size)
        out = np.empty((1, size, size), np.float32)
        project = partial(cone_projection, volume, matrix, (size, size), out=out)
        times = [_cpu_ms(project) for _ in range(10 * rounds)]
        figures[f"ms_{size}_from_{edge}"] = percentile(times, 50.0)
    return figures


def _saved_figures(rounds: int) -> dict[str, Any]:
    """What empty space and a small region cost, and what a call costs before anything is summed."""
    affine = affine_of(EDGE)
    half = np.zeros((EDGE, EDGE, EDGE), np.int16)
    half[EDGE // 2 :] = 1000
    full = np.full_like(half, 1000)
    jobs = {
        "ms_256_full": (full, 256, (256, 256), (0.0, 0.0)),
        "ms_512_full": (full, 512, (512, 512), (0.0, 0.0)),
        "ms_256_half_empty": (half, 256, (256, 256), (0.0, 0.0)),
        "ms_256_of_nothing": (np.zeros_like(half), 256, (256, 256), (0.0, 0.0)),
        "ms_64_px_region_full": (full, 256, (64, 64), (96.0, 96.0)),
    }
    figures: dict[str, Any] = {}
    for key, (voxels, detector, size, origin_px) in jobs.items():
        volume = ProjectionVolume(voxels, affine, air=0)
        matrix = matrix_of((20.0, 15.0), detector)
        project = partial(cone_projection, volume, matrix, size, origin_px=origin_px)
        times = [_cpu_ms(project) for _ in range(3 * rounds)]
        figures[key] = percentile(times, 50.0)
    return figures


def _factorised_share(voxels: F32) -> float:
    """How many of random C-arm poses (any direction, source 500 to 900 mm off) take the fast way."""
    volume = ProjectionVolume(voxels, affine_of(EDGE), air=0)
    random = np.random.default_rng(_SEED)
    taken = 0
    for _ in range(_RANDOM_VIEWS):
        gantry = _gantry(
            (random.uniform(-180.0, 180.0), random.uniform(-90.0, 90.0)), 512, random.uniform(500.0, 900.0)
        )
        taken += projection_method(volume, gantry.pixel_from_patient(), (512, 512)).method == "shear_warp"
    return taken / _RANDOM_VIEWS


def charts_of(answer: dict[str, Any]) -> dict[str, str]:
    """Times beside the peers', and errors."""
    figures = answer["figures"]
    charts: dict[str, str] = {}
    for size in SIZES:
        names = [f"ms_{size}_from_{EDGE}", f"ms_{size}_from_{EDGE}_float32", f"ms_{size}_from_{EDGE}_rays"]
        names += [key for key in figures if key.endswith(f"_ms_{size}")]
        charts[f"drr_time_{size}"] = bars_chart(
            names,
            {"CPU time": [figures[name] for name in names]},
            title=f"{size} x {size} px from {EDGE}^3, one thread",
            x_words="CPU time, ms",
            references=(Reference(figures["memory_pass_ms"], "one pass over the volume"),),
            log_x=True,
        )
    return charts


def matrix_of(view_deg: tuple[float, float], size: int) -> F64:
    """(3, 4) pixel_from_patient of the benchmark's detector, FIELD_MM wide, at `size` pixels."""
    return _gantry(view_deg, size).pixel_from_patient()


def _gantry(view_deg: tuple[float, float], size: int, source_to_isocenter_mm: float = 750.0) -> Gantry:
    return Gantry(
        primary_deg=view_deg[0],
        secondary_deg=view_deg[1],
        source_to_isocenter_mm=source_to_isocenter_mm,
        detector_rows=size,
        detector_columns=size,
        pitch_row_mm=FIELD_MM / size,
        pitch_column_mm=FIELD_MM / size,
    )


def _cpu_ms(job: Callable[[], Any]) -> float:
    begun = time.thread_time_ns()
    job()
    return (time.thread_time_ns() - begun) / 1e6


def _rms(difference: npt.NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))))
