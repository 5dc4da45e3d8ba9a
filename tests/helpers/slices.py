"""Slice descriptions without pixels, for tests of what follows from geometry alone."""

from __future__ import annotations

import numpy as np

from guidance.geometry.volume_slices import SliceDescription

AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def stack(
    places: list[float] | range = range(6),
    *,
    step: tuple[float, float, float] = (0.0, 0.0, 2.0),
    directions: tuple[tuple[float, float, float], tuple[float, float, float]] = AXIAL,
    numbers: list[int | None] | None = None,
) -> list[SliceDescription]:
    origin = np.array((-30.0, -40.0, 100.0))
    positions = [origin + place * np.array(step) for place in places]
    return [
        SliceDescription(
            instance_uid=f"1.{index}",
            position_mm=(float(position[0]), float(position[1]), float(position[2])),
            row_direction=directions[0],
            column_direction=directions[1],
            spacing_mm=(0.8, 0.7),
            rows=24,
            columns=20,
            frame_of_reference_uid="1.9",
            patient_position="HFS",
            instance_number=index + 1 if numbers is None else numbers[index],
            digest=f"pixels {index}",
        )
        for index, position in enumerate(positions)
    ]
