"""RT Structure Sets: what is filled, what is named instead, and whose attributes are kept."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from guidance.case import BadFieldsError
from guidance.messages import Severity, ZoneKind, ZoneSide, ZoneSite
from guidance.wire.dicom_instance import parse
from guidance.wire.dicom_structures import read_structures
from guidance.wire.read_zones import ReadZones
from tests.helpers.dicom_objects import file_bytes
from tests.helpers.dicom_segmentations import FRAME, contour, structure_set

TURN = np.linspace(0.0, 2 * np.pi, 60, endpoint=False)
DISC_MM2 = 30 * np.sin(2 * np.pi / 60) * 6.0**2  # area of the 60-cornered contour of radius 6


def disc(x: float, height: float, radius: float = 6.0) -> np.ndarray:
    return np.stack([x + radius * np.cos(TURN), -20 + radius * np.sin(TURN), np.full(60, height)], axis=1)


def discs(x: float = 0.0, heights: tuple[float, ...] = (0.0, 1.25, 2.5)) -> list[np.ndarray]:
    return [disc(x, height) for height in heights]


def read(dataset: Dataset) -> ReadZones:
    return read_structures(parse(file_bytes(dataset)))


def test_structures_become_zones_with_their_names_types_and_colours() -> None:
    structures = {"Foramen_S1_R": discs(), "GTV Os ilium": discs(30), "BODY": discs(60), "Os sacrum": discs(-30)}
    types = {"GTV Os ilium": "GTV", "BODY": "EXTERNAL", "Os sacrum": "AVOIDANCE"}
    result = read(structure_set(structures, types=types))
    foramen, lesion, body, sacrum = result.zones
    assert (foramen.name, foramen.site, foramen.side, foramen.level) == (
        "Foramen_S1_R",
        ZoneSite.FORAMEN,
        ZoneSide.RIGHT,
        "S1",
    )
    assert (lesion.site, lesion.kind) == (ZoneSite.LESION, ZoneKind.TARGET)
    assert (body.site, body.kind) == (ZoneSite.SKIN, ZoneKind.TARGET)  # instruments are meant to be inside the body
    assert (sacrum.site, sacrum.kind) == (ZoneSite.BONE, ZoneKind.KEEP_OUT)
    assert {zone.color for zone in result.zones} == {"#ff8000"}
    assert {zone.frame_of_reference_uid for zone in result.zones} == {FRAME}
    assert [zone.origin_uid[-2:] for zone in result.zones] == ["#1", "#2", "#3", "#4"]
    for zone in result.zones:
        affine = zone.occupancy.affine_lps_from_ijk
        volume = zone.occupancy.values.sum() / 255 * np.linalg.det(affine[:3, :3])
        assert volume == pytest.approx(3 * 1.25 * DISC_MM2, rel=2e-3)
    assert [finding.code for finding in result.findings] == ["guessed_site"]


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR"])
def test_points_and_open_lines_are_named_not_lost(kind: str) -> None:
    dataset = structure_set({"sacrum": discs(), "isocentre": []})
    dataset.ROIContourSequence[1].ContourSequence = [contour(disc(0, 0)[:1], kind)]
    result = read(dataset)
    assert [zone.name for zone in result.zones] == ["sacrum"]
    (finding,) = [one for one in result.findings if one.code == "not_a_volume"]
    assert "isocentre" in finding.message
    assert kind in finding.message


def test_one_bad_structure_is_left_out_by_name_and_the_others_stay() -> None:
    dataset = structure_set({"good": discs(), "crooked": discs(heights=(0.0, 1.25, 3.0)), "empty": []})
    result = read(dataset)
    assert [zone.name for zone in result.zones] == ["good"]
    codes = {finding.code: finding for finding in result.findings}
    assert codes["irregular_planes"].severity is Severity.ERROR
    assert "crooked" in codes["irregular_planes"].message
    assert "empty" in codes["empty_zone"].message


def test_unreadable_contours_and_undescribed_structures_are_errors_by_name() -> None:
    dataset = structure_set({"good": discs(), "ghost": discs()})
    del dataset.StructureSetROISequence[1]
    dataset.ROIContourSequence[0].ContourSequence.append(contour(disc(0, 3.75)[:2]))
    broken = contour(disc(0, 5.0))
    broken.NumberOfContourPoints = 59
    dataset.ROIContourSequence[0].ContourSequence.append(broken)
    result = read(dataset)
    codes = [finding.code for finding in result.findings if finding.severity is Severity.ERROR]
    assert codes == ["unreadable_contour", "unreadable_contour", "undescribed_structure"]


def test_a_structure_on_one_plane_is_as_thick_as_the_others_step() -> None:
    result = read(structure_set({"many": discs(), "one": [disc(30, 1.25)]}))
    occupancy = result.zones[1].occupancy
    assert occupancy.affine_lps_from_ijk[2, 2] == pytest.approx(1.25)


def no_structures(dataset: Dataset) -> None:
    dataset.StructureSetROISequence = []


def another_class(dataset: Dataset) -> None:
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"


def not_numbers(dataset: Dataset) -> None:
    for item in dataset.ROIContourSequence[0].ContourSequence:
        item.ContourData = ["nan"] * 9


def no_number(dataset: Dataset) -> None:
    del dataset.StructureSetROISequence[0].ROINumber


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (no_structures, "ROIContourSequence"),
        (another_class, "SOPClassUID"),
        (not_numbers, "ROIContourSequence"),
        (no_number, "StructureSetROISequence[0].ROINumber"),
    ],
)
def test_what_is_refused_is_named(change: object, field: str) -> None:
    dataset = structure_set({"sacrum": discs()})
    change(dataset)
    with pytest.raises(BadFieldsError) as caught:
        read_structures(dataset)
    assert [error.field for error in caught.value.errors] == [field]
