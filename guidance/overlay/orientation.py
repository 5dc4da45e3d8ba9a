"""Which side of the picture is which side of the patient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from guidance.messages import Matrix34

# An axis nearer than 20 deg to the view direction moves little in the picture: its mark would mislead.
_LEAST_IN_PLANE: Final = 0.34
_HALF_RIGHT_COSINE: Final = math.sqrt(0.5)
_LETTERS: Final = (("L", "R"), ("P", "A"), ("H", "F"))  # towards +x, -x; +y, -y; +z, -z of LPS


@dataclass(frozen=True, slots=True)
class Mark:
    """A letter and the unit vector (du, dv) in the picture that points to that side of the patient."""

    letter: str
    direction: tuple[float, float]


@lru_cache(maxsize=64)
def orientation_marks(pixel_from_patient: Matrix34, rows: int, columns: int) -> tuple[Mark, ...]:
    """Marks for the axes that lie in the picture: R and L, H and F, A and P where those are left out.

    Directions are taken at the middle of the picture, where they don't depend on the depth: along patient axis x a
    pixel moves by (m1x - u m3x, m2x - v m3x) / w for the matrix's rows m. Of two axes less than 45 deg apart in the
    picture only the one that lies more in the plane is marked.

    Args:
        pixel_from_patient: 12 numbers, row-major.
    """
    middle_u, middle_v = (columns - 1) / 2, (rows - 1) / 2
    du = [pixel_from_patient[axis] - middle_u * pixel_from_patient[8 + axis] for axis in range(3)]
    dv = [pixel_from_patient[4 + axis] - middle_v * pixel_from_patient[8 + axis] for axis in range(3)]
    lengths = [math.hypot(u, v) for u, v in zip(du, dv, strict=True)]
    largest = _largest_move(du, dv)
    sizes = [length / largest if largest > 0.0 else 0.0 for length in lengths]
    marks: list[Mark] = []
    taken: list[tuple[float, float]] = []
    for axis in sorted(range(3), key=lambda axis: (-round(sizes[axis], 6), axis)):
        if not sizes[axis] >= _LEAST_IN_PLANE:
            continue
        u, v = du[axis] / lengths[axis], dv[axis] / lengths[axis]
        if any(abs(u * other_u + v * other_v) > _HALF_RIGHT_COSINE for other_u, other_v in taken):
            continue
        taken.append((u, v))
        towards, away = _LETTERS[axis]
        marks += [Mark(towards, (u, v)), Mark(away, (-u, -v))]
    return tuple(marks)


def _largest_move(du: list[float], dv: list[float]) -> float:
    """Largest singular value of the (2, 3) matrix of moves: how far a patient's mm can move a pixel in this view."""
    uu, vv = sum(u * u for u in du), sum(v * v for v in dv)
    uv = sum(u * v for u, v in zip(du, dv, strict=True))
    return math.sqrt((uu + vv) / 2 + math.hypot((uu - vv) / 2, uv))
