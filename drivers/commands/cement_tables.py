"""Tables of `guidance bench cement` for the docs, as Markdown: aims, dose, rate, views, cements, sites."""

from __future__ import annotations

from typing import Any, Final

from drivers.commands.cement_figures import AIMS

_WORDS: Final = {
    "dice_median": "Dice, median",
    "front_error_median_mm": "front error, median, mm",
    "front_error_p95_mm": "front error, 95 %, mm",
    "volume_error_two_views_median": "volume error, two views, median",
    "volume_error_two_views_worst": "volume error, two views, worst",
    "foramen_sensitivity": "foramen warned of in time",
    "canal_sensitivity": "canal warned of in time",
    "vein_sensitivity": "vein warned of in time",
    "false_warnings_per_case": "false warnings per case",
    "lead_1s_or_2mm_share": "contacts with 1 s or 2 mm of lead",
    "frames_after_0_1_ml_outside_p95": "frames from 0.1 ml outside to the warning, 95 %",
}
_SHORT: Final = {
    "cases": "cases",
    "dice_median": "Dice",
    "front_error_median_mm": "front mm",
    "front_error_p95_mm": "front 95 % mm",
    "volume_error_two_views_median": "volume, 2 views",
    "volume_interval_one_view": "interval holds, 1 view",
    "foramen_sensitivity": "foramen",
    "canal_sensitivity": "canal",
    "vein_sensitivity": "vein",
    "false_warnings_per_case": "false per case",
    "lead_median_s": "lead s",
}
_GROUPS: Final = {
    "by_dose": "dose",
    "by_rate": "frames/s",
    "by_views": "views",
    "by_brand": "cement",
    "by_patient": "patient",
    "by_disturbance": "what else happens",
}
_SITES: Final = {
    "contacts": "contacts",
    "sensitivity": "in time",
    "ever": "ever",
    "before_contact": "before contact",
    "lead_median_s": "lead s",
    "lead_1s_or_2mm_share": "1 s or 2 mm",
}


def tables_of(answer: dict[str, Any]) -> dict[str, str]:
    """Markdown by the name of its place in docs/cement.md.

    Args:
        answer: of `run_cement`.
    """
    figures, series = answer["figures"], answer["series"]
    aims = [[words, AIMS[key], _word(figures[key]), _met(AIMS[key], figures[key])] for key, words in _WORDS.items()]
    groups = [
        _table(
            [words, *_SHORT.values()], [[_word(one["group"]), *(_word(one[key]) for key in _SHORT)] for one in found]
        )
        for name, words in _GROUPS.items()
        if (found := series[name])
    ]
    sites = [[one["group"].replace("_", " "), *(_word(one[key]) for key in _SITES)] for one in series["by_site"]]
    return {
        "cement-aims": _table(["at nominal dose", "aim", "is", ""], aims),
        "cement-groups": "\n\n".join(groups),
        "cement-sites": _table(["site", *_SITES.values()], sites),
    }


def _met(aim: str, value: float | None) -> str:
    relation, _, limit = aim.partition(" ")
    if value is None:
        return "not known"
    return "met" if (value >= float(limit) if relation == ">=" else value <= float(limit)) else "**missed**"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _word(value: Any) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
