"""Which side of the picture is which side of the patient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from guidance.messages import Matrix34

# An axis nearer than 20 deg to the view direction moves little in the picture: its mark would mislead.
_LEAST_IN_PLANE: Final = 0.34
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
    matrix = np.array(pixel_from_patient).reshape(3, 4)[:, :3]
    moves = matrix[:2] - np.array([[(columns - 1) / 2], [(rows - 1) / 2]]) * matrix[2]
    largest = np.linalg.svd(moves, compute_uv=False)[0]
    sizes = np.linalg.norm(moves, axis=0) / largest if largest > 0 else np.zeros(3)
    marks: list[Mark] = []
    taken: list[tuple[float, float]] = []
    for axis in sorted(range(3), key=lambda axis: (-round(float(sizes[axis]), 6), axis)):
        if not sizes[axis] >= _LEAST_IN_PLANE:
            continue
        du, dv = (moves[:, axis] / np.linalg.norm(moves[:, axis])).tolist()
        if any(abs(du * other_u + dv * other_v) > np.sqrt(0.5) for other_u, other_v in taken):
            continue
        taken.append((du, dv))
        towards, away = _LETTERS[axis]
        marks += [Mark(towards, (du, dv)), Mark(away, (-du, -dv))]
    return tuple(marks)
