"""`guidance bench faults`: the failure drill; what is noticed of a lying stream, when, and what was shown meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from drivers.commands.bench_report import report
from drivers.commands.charts import Reference, Series, bars_chart, lines_chart
from drivers.commands.fault_cases import drill_cases
from drivers.commands.fault_drill import run_case
from drivers.commands.fault_lies import RATE_HZ
from drivers.commands.fault_outcome import LIMIT_MM, SCREEN_AGE_S, Outcome
from drivers.commands.fault_scene import Patient, Pictures, procedural_patient, real_patient
from guidance.config import ConsistencySettings, GeometrySettings
from guidance.messages import GeometryState

_SEEDS: Final = (1, 2)
_FULL_SEEDS: Final = 2
_THREADS: Final = 2
_TRACED: Final = ("breathing of 1.2 mm", "breathing of 8 mm", "patient drifts 1 mm/s")
_SHOWN_MM: Final = 30.0  # an error beyond it is drawn as long as that: a flip is off by half a picture
_DRAWN: Final = (GeometryState.TRUSTED, GeometryState.DEGRADED)


def run_faults(*, quick: bool) -> dict[str, Any]:
    """Run the drill.

    A wrong overlay is a frame whose state is `trusted` with a path drawn whose target lies more than 1.5 mm (at its
    depth) from where it truly is, or on a picture older than a second. `worst_frames_to_notice`: from the first wrong
    overlay of a case to the first frame that was marked or withheld; all frames of the case where none was.
    `worst_error_marked_mm`: of a path drawn as `degraded`. `controls_withheld`, `controls_marked`: frames of honest
    streams without a path, or with a warning.
    """
    real = real_patient()
    patients = [real or procedural_patient()] if quick else [*filter(None, [real]), procedural_patient()]
    seeds = _SEEDS[: 1 if quick else _FULL_SEEDS]
    begun_s = time.process_time()
    outcomes: list[tuple[Patient, int, Outcome]] = []
    for patient in patients:
        pictures = Pictures()
        for seed in seeds:
            cases = drill_cases(patient, quick=quick, seed=seed, of_real=patient is real)
            # Rendering and measuring hold no GIL, and no case knows of another.
            with ThreadPoolExecutor(_THREADS) as pool:
                outcomes += [
                    (patient, seed, outcome) for outcome in pool.map(partial(run_case, pictures=pictures), cases)
                ]
    return report(
        "faults",
        settings={
            "aim": f"no path that is off by more than {LIMIT_MM} mm at its target shown as trusted",
            "quick": quick,
            "patients": [patient.name for patient in patients],
            "seeds": len(seeds),
            "threads": _THREADS,
            "rate_hz": RATE_HZ,
            "oldest_on_screen_s": SCREEN_AGE_S,
            "warning_mm": ConsistencySettings().warning_mm,
            "limit_mm": ConsistencySettings().limit_mm,
            "maximum_age_ms": GeometrySettings().maximum_age_ms,
        },
        figures=_figures([outcome for _, _, outcome in outcomes]) | {"cpu_s": time.process_time() - begun_s},
        series={
            "table": [_row(patient, seed, outcome) for patient, seed, outcome in outcomes],
            "traces": _traces(outcomes),
        },
    )


def charts_of(answer: dict[str, Any]) -> dict[str, str]:
    """What the drill found, as SVG by file stem."""
    table: list[dict[str, Any]] = [row for row in answer["series"]["table"] if row["group"] != "control"]
    names = list(dict.fromkeys(row["fault"] for row in table))
    worst = {name: [row for row in table if row["fault"] == name] for name in names}
    charts = {
        "faults-frames": bars_chart(
            names,
            {"frames": [max(row["frames_to_notice"] for row in worst[name]) for name in names]},
            title="Frames shown as trusted with a path off by more than 1.5 mm, until noticed",
            x_words=f"frames of {RATE_HZ:g} a second, worst view; 0: within the very frame, or harmless",
        ),
        "faults-error": bars_chart(
            names,
            {"mm": [_largest(row["error_trusted_mm"] for row in worst[name]) for name in names]},
            title="Largest error at the target of a path shown as trusted",
            x_words=f"mm at the target's depth (bars end at {_SHOWN_MM:g}); none: no path was shown as trusted",
            x_limits=(0.0, _SHOWN_MM),
            references=[Reference(value=LIMIT_MM, words=f"aim: {LIMIT_MM} mm")],
        ),
    }
    for name, trace in answer["series"]["traces"].items():
        stem = "faults-trace-" + "-".join(name.replace("/", " ").replace(".", "_").split())
        charts[stem] = lines_chart(
            [
                Series(name="path's true error", x=trace["s"], y=trace["told_mm"]),
                Series(name="residual, raw", x=trace["s"], y=trace["residual_mm"]),
                Series(name="residual, smoothed", x=trace["s"], y=trace["smoothed_mm"]),
                Series(name="drawn as trusted", x=trace["s"], y=trace["trusted_mm"]),
            ],
            title=f"{name.capitalize()}, {trace['view']}",
            x_words="s since it began",
            y_words="mm",
            references=[
                Reference(value=answer["settings"]["warning_mm"], words="warning", axis="y"),
                Reference(value=answer["settings"]["limit_mm"], words="limit", axis="y"),
            ],
        )
    return charts


def table_of(answer: dict[str, Any]) -> str:
    """The drill's table as Markdown: a line per lie, worst view of each."""
    settings, figures = answer["settings"], answer["figures"]
    lines = [
        f"Made by `guidance bench faults{' --quick' if settings['quick'] else ''}`: {figures['cases']} cases of "
        f"{figures['frames']} frames at {settings['rate_hz']:g}/s on {' and '.join(settings['patients'])}; "
        f"{figures['wrong_overlays']} wrong overlays in {figures['cases_with_wrong_overlays']} cases.",
        "",
        "| lie | views | wrong frames until noticed | s | error shown as trusted, mm | marked | noticed as "
        "| shown, worst view |",
        "|---|---|---|---|---|---|---|---|",
    ]
    table: list[dict[str, Any]] = answer["series"]["table"]
    for name in dict.fromkeys(row["fault"] for row in table):
        rows = [row for row in table if row["fault"] == name]
        worst = max(rows, key=lambda row: (row["wrong_overlays"], _largest([row["error_trusted_mm"]]) or 0.0))
        codes = sorted({f"`{row['code']}`" for row in rows if row["code"]})
        cells = (
            name,
            ", ".join(dict.fromkeys(row["view"] for row in rows)),
            str(max(row["frames_to_notice"] for row in rows)),
            f"{max(row['seconds_to_notice'] for row in rows):.2f}",
            _cell(worst["error_trusted_mm"]),
            str(sum(row["marked_overlays"] for row in rows)),
            " ".join(codes) or _unsaid(worst),
            worst["shown"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _unsaid(row: dict[str, Any]) -> str:
    if row["group"] == "control":
        return "nothing wrong"
    return "not noticed" if row["wrong_overlays"] else "nothing said: paths lie right"


def _cell(value: Any) -> str:
    return "none shown" if value is None else value if isinstance(value, str) else f"{value:.2f}"


def _figures(outcomes: list[Outcome]) -> dict[str, Any]:
    lies = [outcome for outcome in outcomes if outcome.case.group != "control"]
    controls = [outcome for outcome in outcomes if outcome.case.group == "control"]
    honest = [frame for outcome in controls for frame in (*outcome.before, *outcome.shown)]
    before = [frame for outcome in lies for frame in outcome.before]
    wrong = [outcome for outcome in outcomes if outcome.wrong]
    return {
        "cases": len(outcomes),
        "wrong_overlays": sum(len(outcome.wrong) for outcome in outcomes),
        "worst_frames_to_notice": max(outcome.frames_to_notice for outcome in outcomes),
        "worst_seconds_to_notice": max(outcome.seconds_to_notice for outcome in outcomes),
        "cases_with_wrong_overlays": len(wrong),
        "cases_never_noticed": sum(not outcome.noticed for outcome in wrong),
        "cases_noticed_in_the_first_frame": sum(outcome.noticed and not outcome.wrong for outcome in lies),
        "cases_harmless": sum(not outcome.noticed and not outcome.wrong for outcome in lies),
        "marked_overlays": sum(outcome.marked for outcome in outcomes),
        "worst_error_trusted_mm": _worst_mm(outcomes, GeometryState.TRUSTED),
        "worst_error_marked_mm": _worst_mm(outcomes, GeometryState.DEGRADED),
        "controls": len(controls),
        "controls_withheld": sum(frame.state not in _DRAWN for frame in honest),
        "controls_marked": sum(frame.state is GeometryState.DEGRADED for frame in honest),
        "honest_frames_withheld_before_a_fault": sum(frame.state is not GeometryState.TRUSTED for frame in before),
        "frames": sum(outcome.case.frames for outcome in outcomes),
    }


def _worst_mm(outcomes: Iterable[Outcome], state: GeometryState) -> float | None:
    """Of this patient's own paths; another patient's have no right place."""
    errors = [error for outcome in outcomes if (error := outcome.error_mm(state)) is not None and math.isfinite(error)]
    return max(errors, default=None)


def _row(patient: Patient, seed: int, outcome: Outcome) -> dict[str, Any]:
    case = outcome.case
    return {
        "fault": case.name,
        "group": case.group,
        "view": case.view,
        "patient": patient.name,
        "seed": seed,
        "noticed": outcome.noticed,
        "code": outcome.code,
        "reason": outcome.reason,
        "frames_to_notice": outcome.frames_to_notice,
        "seconds_to_notice": round(outcome.seconds_to_notice, 3),
        "wrong_overlays": len(outcome.wrong),
        "marked_overlays": outcome.marked,
        "error_trusted_mm": _told(outcome.error_mm(GeometryState.TRUSTED)),
        "error_drawn_mm": _told(outcome.error_mm(*_DRAWN)),
        "shown": outcome.meanwhile,
    }


def _traces(outcomes: Iterable[tuple[Patient, int, Outcome]]) -> dict[str, Any]:
    """Frame by frame, of the first view of what changes slowly."""
    traces: dict[str, Any] = {}
    for _, _, outcome in outcomes:
        name = outcome.case.name
        if name not in _TRACED or name in traces:
            continue
        shown = outcome.shown
        traces[name] = {
            "view": outcome.case.view,
            "s": [round(n / RATE_HZ, 3) for n in range(len(shown))],
            "told_mm": [_told(frame.told_mm) for frame in shown],
            "residual_mm": [_told(frame.residual_mm) for frame in shown],
            "smoothed_mm": [_told(frame.smoothed_mm) for frame in shown],
            "trusted_mm": [_told(frame.error_mm) if frame.state is GeometryState.TRUSTED else None for frame in shown],
        }
    return traces


def _told(value: float | None) -> float | str | None:
    """For JSON, which knows no infinity."""
    if value is None:
        return None
    return round(value, 3) if math.isfinite(value) else "another patient's"


def _largest(values: Iterable[Any]) -> float | None:
    numbers = [_SHOWN_MM if isinstance(value, str) else float(value) for value in values if value is not None]
    return max(numbers, default=None)
