"""Segmentations: geometry from positions alone, overlapping segments, missing frames, fractions, faults by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

from guidance.case import BadFieldsError
from guidance.messages import Severity, ZoneKind, ZoneSide, ZoneSite
from guidance.wire.dicom_instance import parse
from guidance.wire.dicom_segmentation import read_segmentation
from guidance.wire.read_zones import ReadZone, ReadZones
from tests.helpers.dicom_objects import file_bytes
from tests.helpers.dicom_segmentations import AXIAL, FRAME, code, item, put_pixels, segment, segmentation

SHARED = Path(__file__).parents[4] / "shared" / "data" / "ct_with_seg"
ROWS, COLUMNS = 13, 11  # 143 pixels a frame: frames begin inside bytes
ORIGIN = np.array((-30.0, -40.0, 100.0))
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/ct_with_seg is not here")


def above(mm: float) -> np.ndarray:
    return ORIGIN + np.array((0.0, 0.0, mm))


def blob(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    pixels = np.zeros((ROWS, COLUMNS), np.uint8)
    pixels[2:9, 3:10] = random.integers(0, 2, (7, 7))
    pixels[5, 6] = 1
    return pixels


def read(dataset: Dataset, **options: object) -> ReadZones:
    return read_segmentation(parse(file_bytes(dataset)), **options)


def points(zone: ReadZone) -> dict[tuple[float, float, float], int]:
    """Every filled voxel's place in the patient, rounded, and its value: what must not depend on storage."""
    filled = np.argwhere(zone.occupancy.values)
    affine = zone.occupancy.affine_lps_from_ijk
    places = filled[:, ::-1] @ affine[:3, :3].T + affine[:3, 3]
    values = zone.occupancy.values[tuple(filled.T)].tolist()
    return dict(zip(map(tuple, np.round(places, 4).tolist()), values, strict=True))


def expected(
    planes: dict[float, np.ndarray], *, step: np.ndarray, orientation: tuple[float, ...] = AXIAL, most: int = 1
) -> dict[tuple[float, float, float], int]:
    row, column = np.array(orientation[:3]) * 0.7, np.array(orientation[3:]) * 0.8
    found = {}
    for place, pixels in planes.items():
        for j, i in np.argwhere(pixels):
            position = ORIGIN + place * step + i * row + j * column
            found[tuple(np.round(position, 4).tolist())] = round(min(pixels[j, i] / most, 1.0) * 255)
    return found


def test_one_segment_bit_for_bit_with_its_attributes() -> None:
    planes = {float(k): blob(k) for k in range(5)}
    step = np.array((0.0, 0.0, 1.5))
    frames = [(1, ORIGIN + k * step, pixels) for k, pixels in planes.items()]
    described = segment(
        1,
        "Foramen S1",
        RecommendedDisplayCIELabValue=[43803, 26565, 37722],
        SegmentDescription="drawn by hand",
    )
    described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [code("7771000")]
    result = read(segmentation(frames, [described]))
    (zone,) = result.zones
    assert points(zone) == expected(planes, step=step)
    assert (zone.name, zone.site, zone.side, zone.level) == ("Foramen S1", ZoneSite.FORAMEN, ZoneSide.LEFT, "S1")
    # 3D Slicer's GREEN segment, as dcmqi stores it
    assert (zone.kind, zone.color, zone.origin) == (ZoneKind.KEEP_OUT, "#80ae80", "dicom_seg")
    assert zone.frame_of_reference_uid == result.frame_of_reference_uid == FRAME
    assert zone.origin_uid.endswith("#1")
    assert not zone.occupancy.values[[0, -1]].any()
    assert not zone.occupancy.values[:, [0, -1]].any()
    assert not zone.occupancy.values[:, :, [0, -1]].any()


TILT = np.deg2rad(18.5)
TILTED = (1.0, 0.0, 0.0, 0.0, float(np.cos(TILT)), float(np.sin(TILT)))
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


@pytest.mark.parametrize(
    ("orientation", "step"),
    [
        pytest.param(AXIAL, (0.0, 0.0, 1.5), id="axial"),
        pytest.param(AXIAL, (0.0, 0.0, -1.5), id="falling z"),
        pytest.param(TILTED, (0.0, 0.0, 2.5), id="gantry tilt: sheared"),
        pytest.param(TILTED, (0.0, 0.0, -2.5), id="gantry tilt, falling"),
        pytest.param(CORONAL, (0.0, 2.0, 0.0), id="coronal"),
        pytest.param((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0), (0.0, 0.0, 1.0), id="turned half round"),
    ],
)
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
def test_any_orientation_step_and_order_of_frames(
    orientation: tuple[float, ...], step: tuple[float, float, float], order: tuple[int, ...]
) -> None:
    planes = {float(k): blob(k) for k in order}
    frames = [(1, ORIGIN + k * np.array(step), pixels) for k, pixels in planes.items()]
    (zone,) = read(segmentation(frames, [segment(1, "x")], orientation=orientation)).zones
    assert points(zone) == expected(planes, step=np.array(step), orientation=orientation)
    assert np.linalg.det(zone.occupancy.affine_lps_from_ijk[:3, :3]) > 0


def test_segments_may_overlap_and_skip_slices() -> None:
    step = np.array((0.0, 0.0, 1.5))
    ours = {0.0: blob(1), 1.0: blob(2), 4.0: blob(3)}  # 2 and 3 have no frame: empty
    theirs = {1.0: blob(2)}
    frames = [(2, ORIGIN + k * step, pixels) for k, pixels in theirs.items()]
    frames += [(7, ORIGIN + k * step, pixels) for k, pixels in ours.items()]
    result = read(segmentation(frames, [segment(2, "theirs"), segment(7, "ours"), segment(9, "nothing")]))
    assert points(result.zones[0]) == expected(theirs, step=step)
    assert points(result.zones[1]) == expected(ours, step=step)
    assert [finding.code for finding in result.findings] == ["empty_zone", "unknown_site"]
    assert "nothing" in result.findings[0].message


@pytest.mark.parametrize(
    ("places", "between", "volume_step", "slices"),
    [
        pytest.param((0.0, 2.0, 4.0), 1.0, None, 3, id="a told step of half the gap everywhere is wrong"),
        pytest.param((0.0, 1.0, 4.0), 1.0, None, 5, id="told step, slices missing"),
        pytest.param((0.0, 2.0, 5.0), None, 1.0, 6, id="the volume tells the step"),
        pytest.param((0.0, 2.0, 4.0), 0.8, None, 3, id="a told step that explains nothing"),
        pytest.param((0.0,), 1.0, None, 1, id="one slice with its step"),
        pytest.param((0.0,), None, 2.0, 1, id="one slice, the volume's step"),
        pytest.param((0.0, 1.004, 1.996, 3.0), None, None, 4, id="rounded positions"),
        pytest.param(tuple(k * 0.8004 for k in range(40)), 0.8, None, 40, id="a rounded step"),
    ],
)
def test_the_step_between_slices(
    places: tuple[float, ...], between: float | None, volume_step: float | None, slices: int
) -> None:
    frames = [(1, above(place), blob(3)) for place in places]
    volume = None if volume_step is None else np.diag([1.0, 1.0, volume_step, 1.0])
    (zone,) = read(segmentation(frames, [segment(1, "x")], between=between), volume_affine=volume).zones
    assert zone.occupancy.values.shape[0] == slices + 2


@pytest.mark.parametrize("most", [255, 100])
def test_fractions_are_parts_of_a_voxel(most: int) -> None:
    pixels = np.arange(ROWS * COLUMNS, dtype=np.uint8).reshape(ROWS, COLUMNS)
    frames = [(1, ORIGIN, pixels), (1, above(1), pixels)]
    result = read(segmentation(frames, [segment(1, "sacrum")], kind="FRACTIONAL", most=most))
    want = expected({0.0: pixels, 1.0: pixels}, step=np.array((0, 0, 1.0)), most=most)
    assert points(result.zones[0]) == {place: value for place, value in want.items() if value}
    assert [finding.code for finding in result.findings] == ["guessed_site"]
    probable = segmentation(frames, [segment(1, "x")], kind="FRACTIONAL", fractional_type="PROBABILITY")
    assert "probability" in [finding.code for finding in read(probable).findings]


def test_a_segment_that_is_nowhere_half_there_has_no_surface() -> None:
    faint, strong = np.full((ROWS, COLUMNS), 100, np.uint8), np.full((ROWS, COLUMNS), 200, np.uint8)
    frames = [(number, above(k), pixels) for number, pixels in ((1, faint), (2, strong)) for k in (0, 1)]
    result = read(segmentation(frames, [segment(1, "faint"), segment(2, "strong")], kind="FRACTIONAL"))
    assert [zone.name for zone in result.zones] == ["strong"]
    assert (result.findings[0].code, result.findings[0].severity) == ("empty_zone", Severity.WARNING)
    assert "faint" in result.findings[0].message


def test_label_map_segmentation() -> None:
    pixels = (blob(1) * 3 + (blob(2) & ~blob(1) & 1) * 5).astype(np.uint8)
    frames = [(0, ORIGIN, pixels), (0, above(1), np.roll(pixels, 1, 0))]
    result = read(segmentation(frames, [segment(0, "Background"), segment(3, "three")], kind="LABELMAP"))
    (zone,) = result.zones
    planes = {0.0: (pixels == 3).astype(np.uint8), 1.0: (np.roll(pixels, 1, 0) == 3).astype(np.uint8)}
    assert points(zone) == expected(planes, step=np.array((0, 0, 1.0)))
    assert (result.findings[0].code, result.findings[0].severity) == ("undescribed_segment", Severity.ERROR)
    assert "5" in result.findings[0].message


def rle(dataset: Dataset, *, packed: bool) -> Dataset:
    """One bit a pixel as RLE: the bits of a frame packed, or a byte for each, as makers do."""
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    frames = bits[: int(dataset.NumberOfFrames) * ROWS * COLUMNS].reshape(-1, ROWS * COLUMNS)
    data = []
    for frame in frames:
        plain = np.packbits(frame, bitorder="little").tobytes() if packed else frame.tobytes()
        parts = [plain[at : at + 100] for at in range(0, len(plain), 100)]
        literal = b"".join(bytes([len(part) - 1]) + part for part in parts)
        data.append(np.array([1, 64, *[0] * 14], "<u4").tobytes() + literal)
    dataset.PixelData = encapsulate([one + b"\0" * (len(one) % 2) for one in data])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = RLELossless
    return dataset


@pytest.mark.parametrize("packed", [True, False])
def test_run_lengths_of_single_bits(packed: bool) -> None:
    planes = {float(k): blob(k) for k in range(3)}
    frames = [(1, above(k), pixels) for k, pixels in planes.items()]
    (zone,) = read(rle(segmentation(frames, [segment(1, "x")]), packed=packed)).zones
    assert points(zone) == expected(planes, step=np.array((0, 0, 1.0)))


def test_run_lengths_of_fractions() -> None:
    pixels = np.arange(ROWS * COLUMNS, dtype=np.uint8).reshape(ROWS, COLUMNS)
    frames = [(1, ORIGIN, pixels), (1, above(1), pixels.T.reshape(ROWS, COLUMNS))]
    plain = segmentation(frames, [segment(1, "x")], kind="FRACTIONAL")
    compressed = segmentation(frames, [segment(1, "x")], kind="FRACTIONAL")
    compressed.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    assert points(read(compressed).zones[0]) == points(read(plain).zones[0])


def test_frames_on_top_of_each_other_are_taken_together_and_told() -> None:
    frames = [(1, ORIGIN, blob(1)), (1, ORIGIN, blob(2)), (1, above(1), blob(3))]
    result = read(segmentation(frames, [segment(1, "x")]))
    planes = {0.0: blob(1) | blob(2), 1.0: blob(3)}
    assert points(result.zones[0]) == expected(planes, step=np.array((0, 0, 1.0)))
    assert "duplicate_frames" in [finding.code for finding in result.findings]


def plain() -> Dataset:
    return segmentation([(1, above(k), blob(k)) for k in range(4)], [segment(1, "x")])


def moved(place: int, by: tuple[float, float, float]) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        plane = dataset.PerFrameFunctionalGroupsSequence[place].PlanePositionSequence[0]
        plane.ImagePositionPatient = [float(one) for one in np.add(plane.ImagePositionPatient, by)]

    return change


def without_position(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence


def without_orientation(dataset: Dataset) -> None:
    del dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence


def turned_frame(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence[2].PlaneOrientationSequence = [item(ImageOrientationPatient=list(CORONAL))]


def skewed(dataset: Dataset) -> None:
    plane = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    plane.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.5, 0.866, 0.0]


def unknown_segment(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence[3].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 5


def all_empty(dataset: Dataset) -> None:
    put_pixels(dataset, np.zeros((4, ROWS, COLUMNS)), bits=1)


def short(dataset: Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:40]


def one_frame_less(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[3]


def no_segments(dataset: Dataset) -> None:
    dataset.SegmentSequence = []


def doubled_segment(dataset: Dataset) -> None:
    dataset.SegmentSequence = [segment(1, "x"), segment(1, "y")]


def another_type(dataset: Dataset) -> None:
    dataset.SegmentationType = "SURFACE"


def another_class(dataset: Dataset) -> None:
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"


def jpeg(dataset: Dataset) -> None:
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = encapsulate([dataset.PixelData])


def no_pixels(dataset: Dataset) -> None:
    del dataset.PixelData


def fractions_without_limit(dataset: Dataset) -> None:
    dataset.SegmentationType = "FRACTIONAL"


def one_plane(dataset: Dataset) -> None:
    for place in range(4):
        moved(place, (0.0, 0.0, -float(place)))(dataset)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param(moved(3, (0.0, 0.0, 0.4)), "PlanePositionSequence", id="irregular step"),
        pytest.param(moved(2, (3.0, 0.0, 0.0)), "PlanePositionSequence", id="a slice beside the line"),
        pytest.param(moved(3, (0.0, 0.0, 1e6)), "PlanePositionSequence", id="a slice a kilometre away"),
        pytest.param(one_plane, "PlanePositionSequence", id="one plane without a step"),
        pytest.param(without_position, "PlanePositionSequence", id="no position"),
        pytest.param(without_orientation, "PlaneOrientationSequence", id="no orientation"),
        pytest.param(turned_frame, "PlaneOrientationSequence", id="frames of two orientations"),
        pytest.param(skewed, "PlaneOrientationSequence", id="directions not at right angles"),
        pytest.param(
            unknown_segment, "PerFrameFunctionalGroupsSequence[3].ReferencedSegmentNumber", id="unknown segment"
        ),
        pytest.param(all_empty, "PixelData", id="all empty"),
        pytest.param(short, "PixelData", id="short pixel data"),
        pytest.param(jpeg, "PixelData", id="single bits as JPEG 2000"),
        pytest.param(no_pixels, "PixelData", id="no pixel data"),
        pytest.param(one_frame_less, "PerFrameFunctionalGroupsSequence", id="fewer groups than frames"),
        pytest.param(no_segments, "SegmentSequence", id="no segments"),
        pytest.param(doubled_segment, "SegmentSequence[1].SegmentNumber", id="a number twice"),
        pytest.param(another_type, "SegmentationType", id="surface"),
        pytest.param(another_class, "SegmentationType", id="a CT"),
        pytest.param(fractions_without_limit, "MaximumFractionalValue", id="fractions without their maximum"),
    ],
)
def test_what_is_refused_is_named(change: Callable[[Dataset], None], field: str) -> None:
    dataset = plain()
    change(dataset)
    with pytest.raises(BadFieldsError) as caught:
        read(dataset)
    assert [error.field for error in caught.value.errors] == [field]


@needs_data
def test_real_segmentation_with_overlapping_segments() -> None:
    result = read_segmentation(pydicom.dcmread(SHARED / "seg_partial_overlaps.dcm"))
    raw = pydicom.dcmread(SHARED / "seg_partial_overlaps.dcm")
    bits = np.unpackbits(np.frombuffer(raw.PixelData, np.uint8), bitorder="little").reshape(-1, 512, 512)
    owners = [
        group.SegmentIdentificationSequence[0].ReferencedSegmentNumber for group in raw.PerFrameFunctionalGroupsSequence
    ]
    for number, zone in enumerate(result.zones, 1):
        stored = sum(int(frame.sum()) for frame, owner in zip(bits, owners, strict=True) if owner == number)
        assert int((zone.occupancy.values == 255).sum()) == stored
    assert [zone.color for zone in result.zones] == ["#80ae80", "#d8654f", "#b79cdc", "#8ce0e4", "#0097ce"]
    assert [zone.site for zone in result.zones][-1] is ZoneSite.VEIN  # 29092000, Vein
    ours = pydicom.dcmread(SHARED / "01.dcm")
    assert result.frame_of_reference_uid == ours.FrameOfReferenceUID
