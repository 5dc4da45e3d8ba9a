"""Plans made elsewhere taken into the case: OpenIGTLink, item by item; a file, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from guidance.case.fields import BadFieldsError, FieldError
from guidance.case.paths import create_path, drawable_paths, update_path
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
        }
        if item.name:  # without one it is called by its id
            fields["label"] = item.name
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
    """Take over a plan file, whole: what it names changes, so a file that comes twice makes nothing twice.

    A path is known by its name in a former plan, or by its label where one path of the frame has it: a plan that was
    exported, changed and brought back changes the paths that it was made of.

    Args:
        case: the case as it is.
        items: its paths; one with diameter 0 has none of its own.
        zones: its zones, see `import_zones`; their frame is the active volume's, as a plan file names none.
        diameter_mm: for the new paths without one.

    Returns:
        The case; the paths made or changed and the zones made.

    Raises:
        BadFieldsError: every path that was refused, and why; the case stays as it was.
        CaseError: see `import_zones`.
    """
    case = _with_known_labels(case, items)
    whole = [
        item if item.diameter_mm else replace(item, diameter_mm=_known_diameter_mm(case, item) or diameter_mm or 0.0)
        for item in items
    ]
    unmeasured = [item.name for item in whole if not item.diameter_mm]
    if unmeasured:
        told = f"is not told for {', '.join(map(repr, unmeasured))}; give ?diameter_mm=3.2 (or --diameter-mm 3.2)"
        mend = "write d=3.2 mm into a point's description"
        raise BadFieldsError([FieldError("diameter_mm", f"{told}, or {mend}")], what="plan")
    taken, paths, refused = paths_from_plan(case, whole)
    if refused:
        raise BadFieldsError([FieldError("paths", str(error)) for error in refused], what="plan")
    taken, imported = import_zones(taken, zones)
    return taken, (paths, imported.zones)


def _with_known_labels(case: Case, items: Sequence[PlanItem]) -> Case:
    """The case with the names of a plan file noted at the paths that have them as labels."""
    known = dict(case.plan_names)
    for item in items:
        called = [path.id for path in drawable_paths(case) if path.label == item.name]
        if item.name not in known and len(called) == 1:
            known[item.name] = called[0]
    return replace(case, plan_names=tuple(known.items()))


def _known_diameter_mm(case: Case, item: PlanItem) -> float | None:
    path_id = dict(case.plan_names).get(item.name)
    return next((path.diameter_mm for path in case.paths if path.id == path_id), None)
