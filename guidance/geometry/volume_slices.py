"""One slice of a series as a frozen value: where its plane lies and which slices it belongs with. No pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guidance.errors import GeometryError
from guidance.messages import F64, Vector3

_UNIT_TOLERANCE = 1e-3  # Image Orientation has often four decimals


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceDescription:
    """The plane of one CT slice or of one frame of a multi-frame object.

    Attributes:
        instance_uid: SOP Instance UID.
        frame: index of the frame in its instance, from 0.
        position_mm: Image Position (Patient), centre of the first voxel, LPS.
        row_direction: unit vector along which the column index i grows, LPS.
        column_direction: unit vector along which the row index j grows, LPS.
        spacing_mm: (between rows, between columns), Pixel Spacing, > 0.
        rows, columns: size of the picture, > 0.
        frame_of_reference_uid: "" if the object has none.
        patient_position: (0018,5100) or "".
        variant: what splits one series into several stacks where they lie on each other: image type, stack, phase.
        instance_number: (0020,0013); evidence for what is missing, never for the order. None if absent.
        digest: digest of the decoded voxels; "" until they are decoded. Equal digests are equal pictures.
        edge_tissue: share of the field's edge that shows tissue, [0, 1]; 0 until decoded.

    Raises:
        GeometryError: `bad_geometry`: something non-finite, a spacing or size <= 0, directions not orthonormal.

    Source: DICOM PS3.3 C.7.6.2 (image plane).
    """

    instance_uid: str
    position_mm: Vector3
    row_direction: Vector3
    column_direction: Vector3
    spacing_mm: tuple[float, float]
    rows: int
    columns: int
    frame: int = 0
    frame_of_reference_uid: str = ""
    patient_position: str = ""
    variant: tuple[str, ...] = ()
    instance_number: int | None = None
    digest: str = ""
    edge_tissue: float = 0.0

    def __post_init__(self) -> None:
        numbers = (*self.position_mm, *self.row_direction, *self.column_direction, *self.spacing_mm)
        if not np.all(np.isfinite(numbers)):
            raise GeometryError(
                f"{self.instance_uid}: position, orientation or spacing is not finite", code="bad_geometry"
            )
        if min(self.spacing_mm) <= 0 or min(self.rows, self.columns) <= 0:
            raise GeometryError(
                f"{self.instance_uid}: pixel spacing {self.spacing_mm}, size {self.rows} x {self.columns}",
                code="bad_geometry",
            )
        row, column = np.array(self.row_direction), np.array(self.column_direction)
        errors = (abs(row @ row - 1), abs(column @ column - 1), abs(row @ column))
        if max(errors) > 2 * _UNIT_TOLERANCE:
            raise GeometryError(
                f"{self.instance_uid}: image orientation {(*self.row_direction, *self.column_direction)} "
                "is not two perpendicular unit vectors",
                code="bad_geometry",
            )

    @property
    def key(self) -> tuple[str, int]:
        """What names the slice's pixels: (SOP Instance UID, frame)."""
        return self.instance_uid, self.frame

    @property
    def normal(self) -> F64:
        """Unit normal, row x column direction."""
        normal = np.cross(self.row_direction, self.column_direction)
        return np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)
