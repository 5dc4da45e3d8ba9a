"""What a lying stream does to its geometry and to its picture: another gantry told, another picture shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from guidance.messages import F64, Vector3
from simulators.faults import Fault
from simulators.gantry import Gantry, angles_of, lps_from_equipment

_TURN_DEG: Final = 5.0
_OTHER_ZOOM: Final = 1.4  # the next field of a detector with 32, 22 and 16 cm
_TURNS: Final[dict[Fault, Vector3]] = {
    Fault.TURNED_ABOUT_X: (_TURN_DEG, 0.0, 0.0),
    Fault.TURNED_ABOUT_Y: (0.0, _TURN_DEG, 0.0),
    Fault.TURNED_ABOUT_Z: (0.0, 0.0, _TURN_DEG),
}
_DAMAGED_EVERY: Final = 97  # pixels; a prime, so that no row or column is spared or wholly gone


def told_with_fault(fault: Fault, gantry: Gantry, before: Gantry) -> Gantry:
    """The place that the faulty sender tells for a picture taken at `gantry`.

    Args:
        before: where the frame before was taken.
    """
    match fault:
        case Fault.PREVIOUS_GEOMETRY:
            return before
        case Fault.SOURCE_DISTANCE_2_PERCENT:
            return replace(gantry, source_to_detector_mm=1.02 * gantry.source_to_detector_mm)
        case Fault.SOURCE_DISTANCE_10_PERCENT:
            return replace(gantry, source_to_detector_mm=1.10 * gantry.source_to_detector_mm)
        case Fault.OTHER_ZOOM:
            return gantry.zoomed(_OTHER_ZOOM)
        case Fault.TURNED_ABOUT_X | Fault.TURNED_ABOUT_Y | Fault.TURNED_ABOUT_Z:
            return gantry.turned(_TURNS[fault])
        case Fault.NEGATED_PRIMARY:
            return _negated(gantry)
        case Fault.TABLE_NOT_TOLD:
            return replace(gantry, table_mm=gantry.table_at_cbct_mm)
        case Fault.TABLE_TOLD_TWICE:
            twice = 2.0 * np.subtract(gantry.table_mm, gantry.table_at_cbct_mm) + gantry.table_at_cbct_mm
            return replace(gantry, table_mm=(float(twice[0]), float(twice[1]), float(twice[2])))
        case _:
            return gantry


def picture_with_fault(fault: Fault, picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(rows, columns) as the faulty sender shows it, C order; the geometry beside it stays."""
    match fault:
        case Fault.MIRRORED_PICTURE:
            shown = picture[:, ::-1]
        case Fault.UPSIDE_DOWN_PICTURE:
            shown = picture[::-1]
        case Fault.HALF_TURNED_PICTURE:
            shown = picture[::-1, ::-1]
        case Fault.QUARTER_TURNED_PICTURE:
            shown = np.rot90(picture, -1)  # clockwise
        case Fault.TRANSPOSED_PICTURE:
            shown = picture.T
        case Fault.NAN_PIXELS | Fault.INFINITE_PIXELS if picture.dtype.kind == "f":
            shown = picture.copy()
            shown.reshape(-1)[::_DAMAGED_EVERY] = np.nan if fault is Fault.NAN_PIXELS else np.inf
        case Fault.BLACK_PICTURE:
            shown = np.zeros_like(picture)
        case _:
            return picture
    return np.ascontiguousarray(shown)


def turned_from_taken(fault: Fault, rows: int, columns: int) -> F64:
    """(3, 3): pixel (u, v, 1) of `picture_with_fault` from that of the picture of this size as it was taken."""
    match fault:
        case Fault.MIRRORED_PICTURE:
            return np.array([[-1.0, 0.0, columns - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        case Fault.UPSIDE_DOWN_PICTURE:
            return np.array([[1.0, 0.0, 0.0], [0.0, -1.0, rows - 1.0], [0.0, 0.0, 1.0]])
        case Fault.HALF_TURNED_PICTURE:
            return np.array([[-1.0, 0.0, columns - 1.0], [0.0, -1.0, rows - 1.0], [0.0, 0.0, 1.0]])
        case Fault.QUARTER_TURNED_PICTURE:
            return np.array([[0.0, -1.0, rows - 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        case Fault.TRANSPOSED_PICTURE:
            return np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        case _:
            return np.eye(3)


def _negated(gantry: Gantry) -> Gantry:
    """RAO told for LAO, as by a sender that counts the other way, about where the detector stands above the table."""
    if gantry.angles == "equipment":
        return replace(gantry, primary_deg=-gantry.primary_deg)
    # Relative to a prone patient the upright C-arm is at 180 deg: it is the equipment's angle that has two signs.
    equipment_from_lps = lps_from_equipment(gantry.patient_position).T
    along_u, _, toward = gantry.axes_lps()
    primary, secondary, rotation = angles_of(equipment_from_lps @ along_u, equipment_from_lps @ toward)
    return replace(
        gantry, primary_deg=-primary, secondary_deg=secondary, detector_rotation_deg=rotation, angles="equipment"
    )
