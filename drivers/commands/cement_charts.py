"""Charts of `guidance bench cement`: what dose, pulse rate and site do to the figures."""

from __future__ import annotations

from typing import Any, Final

from drivers.commands.charts import Reference, Series, bars_chart, histogram_chart, lines_chart

_LEADS_S: Final = (-5.0, 15.0)


def charts_of(answer: dict[str, Any]) -> dict[str, str]:
    """SVG by file stem.

    Args:
        answer: of `run_cement`.
    """
    series = answer["series"]
    return {
        **_against(series["by_dose"], "dose", "dose, of the nominal one"),
        **_against(series["by_rate"], "rate", "frames per second"),
        "cement-volume": _volumes(series["cases"]),
        "cement-sites": bars_chart(
            [f"{group['group']} ({group['contacts']})" for group in series["by_site"]],
            {
                "warned in time": [group["sensitivity"] for group in series["by_site"]],
                "before contact": [group["before_contact"] for group in series["by_site"]],
            },
            title="Warnings by site (true contacts)",
            x_words="share of contacts",
            x_limits=(0.0, 1.0),
        ),
        "cement-lead": histogram_chart(
            {"all sites": [site["lead_s"] for case in series["cases"] for site in case["sites"]]},
            title="From the first warning to the contact",
            x_words="s; unknown: no warning",
            x_limits=_LEADS_S,
            references=(Reference(value=1.0, words="aim"),),
        ),
    }


def _against(groups: list[dict[str, Any]], stem: str, words: str) -> dict[str, str]:
    x = [group["group"] for group in groups]
    return {
        f"cement-{stem}-dice": lines_chart(
            [
                Series(name="median", x=x, y=[group["dice_median"] for group in groups]),
                Series(name="10th percentile", x=x, y=[group["dice_p10"] for group in groups]),
            ],
            references=(Reference(value=0.9, words="aim, median", axis="y"),),
            y_words="Dice",
            y_limits=(0.0, 1.0),
            title=f"Mask against {stem}",
            x_words=words,
            log_x=True,
            marks=True,
        ),
        f"cement-{stem}-front": lines_chart(
            [
                Series(name="median", x=x, y=[group["front_error_median_mm"] for group in groups]),
                Series(name="95th percentile", x=x, y=[group["front_error_p95_mm"] for group in groups]),
            ],
            references=(
                Reference(value=0.5, words="aim, median", axis="y"),
                Reference(value=1.5, words="aim, 95 %", axis="y"),
            ),
            y_words="mm at the isocentre",
            title=f"Front error against {stem}",
            x_words=words,
            log_x=True,
            marks=True,
        ),
        f"cement-{stem}-warnings": lines_chart(
            [
                Series(name=name.replace("_", " "), x=x, y=[group[f"{name}_sensitivity"] for group in groups])
                for name in ("foramen", "canal", "vein")
            ]
            + [Series(name="false warnings per case", x=x, y=[group["false_warnings_per_case"] for group in groups])],
            references=(Reference(value=0.98, words="aim, foramen and canal", axis="y"),),
            y_words="share of contacts warned of in time",
            title=f"Warnings against {stem}",
            x_words=words,
            log_x=True,
            marks=True,
        ),
    }


def _volumes(cases: list[dict[str, Any]]) -> str:
    errors: dict[str, list[float | None]] = {}
    for case in cases:
        for told in case["volumes"]:
            if told["views"] >= 2 and told["true_ml"] > 0.0 and told["told_ml"] is not None:
                errors.setdefault(f"dose {case['dose']:g}", []).append(
                    100.0 * (told["told_ml"] - told["true_ml"]) / told["true_ml"]
                )
    return histogram_chart(
        dict(sorted(errors.items())),
        title="Volume told from two views",
        x_words="percent off the truth",
        x_limits=(-40.0, 40.0),
        references=(Reference(value=-15.0, words="aim"), Reference(value=15.0, words="aim")),
    )
