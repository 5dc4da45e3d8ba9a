"""Plans made elsewhere taken into the case: OpenIGTLink, item by item; a file, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from guidance.case.fields import BadFieldsError, FieldError
from guidance.case.paths import create_path, update_path
from guidance.case.state import Case
from guidance.case.zones import import_zones
from guidance.errors import CaseError
from guidance.messages import PlanItem, PlannedPath, Zone


def paths_from_plan(
    case: Case, items: Sequence[PlanItem]
) -> tuple[Case, tuple[PlannedPath, ...], tuple[CaseError, ...]]:
    """Take over a plan from OpenIGTLink: a known name changes its path, a new one makes a path.

    Returns:
        The case, the paths made or changed, and one error per item that was refused (the others go on).
    """
    accepted: list[PlannedPath] = []
    refused: list[CaseError] = []
    for item in items:
        fields: dict[str, Any] = {
            "entry_lps_mm": item.entry_lps_mm,
            "target_lps_mm": item.target_lps_mm,
            "diameter_mm": item.diameter_mm,
            "label": item.name,
        }
        if item.color:
            fields["color"] = item.color
        path_id = dict(case.plan_names).get(item.name)
        try:
            if path_id is None:
                case, path = create_path(case, fields)
                case = replace(case, plan_names=(*case.plan_names, (item.name, path.id)))
            else:
                case, path = update_path(case, path_id, fields)
        except BadFieldsError as error:
            refused.append(BadFieldsError(error.errors, what=f"path {item.name!r} of the plan"))
        except CaseError as error:
            refused.append(error)
        else:
            accepted.append(path)
    return case, tuple(accepted), tuple(refused)


def take_plan(
    case: Case, items: Sequence[PlanItem], zones: Sequence[Zone] = (), *, diameter_mm: float | None = None
) -> tuple[Case, tuple[tuple[PlannedPath, ...], tuple[Zone, ...]]]:
    """Take over a plan file, whole: a known name changes its path, so a file that comes twice makes nothing twice.

    Args:
        case: the case as it is.
        items: its paths; one with diameter 0 has none of its own.
        zones: its zones, see `import_zones`; their frame is the active volume's, as a plan file names none.
        diameter_mm: for the paths without one.

    Returns:
        The case; the paths made or changed and the zones made.

    Raises:
        BadFieldsError: every path that was refused, and why; the case stays as it was.
        CaseError: see `import_zones`.
    """
    whole = [
        item if item.diameter_mm or diameter_mm is None else replace(item, diameter_mm=diameter_mm) for item in items
    ]
    taken, paths, refused = paths_from_plan(case, whole)
    if refused:
        raise BadFieldsError([FieldError("paths", str(error)) for error in refused], what="plan")
    taken, imported = import_zones(taken, zones)
    return taken, (paths, imported.zones)
