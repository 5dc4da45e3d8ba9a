"""Segmentations written by highdicom, read by us and by highdicom (decision 0010)."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid

from guidance.wire.dicom_segmentation import read_segmentation
from guidance.wire.read_zones import ReadZone
from tests.helpers.dicom_objects import ct_series, phantom
from tests.helpers.dicom_segmentations import segment, segmentation

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]

SHARED = Path(__file__).parents[4] / "shared" / "data" / "ct_with_seg"
_COS, _SIN = np.cos(0.4), np.sin(0.4)
SHAPE = (7, 36, 33)  # OpenJPEG encodes nothing smaller than 32 pixels
SERIES: dict[str, dict[str, Any]] = {
    "axial": {},
    "falling": {"step": (0, 0, -2)},
    "oblique": {"orientation": (_COS, _SIN, 0, -_SIN, _COS, 0), "step": (0, 0, -1.25)},
    "coronal": {"orientation": (1, 0, 0, 0, 0, -1), "step": (0, 1.5, 0)},
    "gantry tilt": {"orientation": (1, 0, 0, 0, _COS, _SIN), "step": (0, 0, 2.5)},
}


def masks() -> np.ndarray:
    """(frames, rows, columns, 3): overlapping segments, one with empty slices between, one on a single slice."""
    random = np.random.default_rng(5)
    made = np.zeros((*SHAPE, 3), bool)
    made[:, 4:15, 3:12, 0] = random.random((7, 11, 9)) < 0.5
    made[[1, 2, 5], 6:18, 5:16, 1] = random.random((3, 12, 11)) < 0.5
    made[3, 2:6, 2:9, 2] = True
    return made


def written(sources: list[Dataset], pixels: np.ndarray, **options: Any) -> Dataset:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"segment {number}",
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Sacrum,
            algorithm_type="MANUAL",
        )
        for number in range(1, pixels.shape[-1] + 1 if pixels.ndim == 4 else int(pixels.max()) + 1)
    ]
    for one in sources:  # type 2 attributes that highdicom copies
        for keyword in ("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "PatientBirthDate", "PatientSex"):
            if keyword not in one:
                setattr(one, keyword, "")
        one.ReferringPhysicianName = ""
    made = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=pixels,
        segment_descriptions=descriptions,
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
        **options,
    )
    buffer = BytesIO()
    made.save_as(buffer)
    buffer.seek(0)
    return pydicom.dcmread(buffer)


def places(zone: ReadZone) -> dict[tuple[float, ...], int]:
    filled = np.argwhere(zone.occupancy.values)
    affine = zone.occupancy.affine_lps_from_ijk
    where = np.round(filled[:, ::-1] @ affine[:3, :3].T + affine[:3, 3], 3) + 0.0
    return dict(zip(map(tuple, where.tolist()), zone.occupancy.values[tuple(filled.T)].tolist(), strict=True))


def truth(sources: list[Dataset], pixels: np.ndarray) -> dict[tuple[float, ...], int]:
    """Where the mask's pixels lie by the CT slices' own attributes."""
    found = {}
    for source, mask in zip(sources, pixels, strict=True):
        row, column = np.array(source.ImageOrientationPatient, float).reshape(2, 3)
        down, right = (float(one) for one in source.PixelSpacing)
        for j, i in np.argwhere(mask):
            where = np.array(source.ImagePositionPatient, float) + i * right * row + j * down * column
            found[tuple((np.round(where, 3) + 0.0).tolist())] = round(float(mask[j, i]) * 255)
    return found


def oracle(dataset: Dataset, number: int) -> dict[tuple[float, ...], int]:
    """The same from highdicom's own volume."""
    import highdicom as hd

    read = hd.seg.Segmentation.from_dataset(dataset)
    volume = read.get_volume(combine_segments=False, rescale_fractional=True, dtype=np.float64)
    array = volume.array[..., number - 1]
    filled = np.argwhere(array)
    where = np.round(filled @ volume.affine[:3, :3].T + volume.affine[:3, 3], 3) + 0.0
    values = np.rint(array[tuple(filled.T)] * 255).astype(int)
    return dict(zip(map(tuple, where.tolist()), values.tolist(), strict=True))


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("sparse", [True, False])
def test_binary(name: str, sparse: bool) -> None:
    sources = ct_series(phantom(*SHAPE), **SERIES[name])
    pixels = masks()
    dataset = written(sources, pixels, segmentation_type="BINARY", omit_empty_frames=sparse)
    zones = read_segmentation(dataset).zones
    assert len(zones) == 3
    for number, zone in enumerate(zones, 1):
        assert places(zone) == truth(sources, pixels[..., number - 1])
        if name != "gantry tilt":  # highdicom has no volume for a sheared grid
            assert places(zone) == oracle(dataset, number)


# GDCM, which would be taken first, ends the process while it encodes.
ENCODERS = {RLELossless: "pydicom", JPEGLSLossless: "pyjpegls", JPEG2000Lossless: "pylibjpeg"}


def compressed(dataset: Dataset, syntax: str) -> Dataset:
    if syntax in ENCODERS:
        dataset.compress(syntax, encoding_plugin=ENCODERS[syntax], generate_instance_uid=False)
    return dataset


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, *ENCODERS])
@pytest.mark.parametrize("kind", ["OCCUPANCY", "PROBABILITY"])
def test_fractional(syntax: str, kind: str) -> None:
    sources = ct_series(phantom(*SHAPE))
    pixels = np.round(np.random.default_rng(2).random((*SHAPE, 1)) * 200) / 200
    dataset = written(
        sources,
        pixels,
        segmentation_type="FRACTIONAL",
        fractional_type=kind,
        max_fractional_value=200,
    )
    by_highdicom = oracle(dataset, 1)
    (zone,) = read_segmentation(compressed(dataset, syntax)).zones
    assert places(zone) == truth(sources, pixels[..., 0]) == by_highdicom


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_label_map(syntax: str) -> None:
    sources = ct_series(phantom(*SHAPE), step=(0, 0, -2))
    pixels = np.zeros(SHAPE, np.uint8)
    for number, mask in enumerate(np.moveaxis(masks(), -1, 0), 1):
        pixels[mask] = number
    dataset = written(sources, pixels, segmentation_type="LABELMAP")
    by_highdicom = [oracle(dataset, number) for number in (1, 2, 3)]
    for number, zone in enumerate(read_segmentation(compressed(dataset, syntax)).zones, 1):
        assert places(zone) == truth(sources, pixels == number) == by_highdicom[number - 1]


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/ct_with_seg is not here")
@pytest.mark.parametrize("name", ["seg_liver.dcm", "seg_partial_overlaps.dcm"])
def test_real_objects(name: str) -> None:
    dataset = pydicom.dcmread(SHARED / name)
    for number, zone in enumerate(read_segmentation(dataset).zones, 1):
        assert places(zone) == oracle(dataset, number)


def test_colours() -> None:
    from highdicom.color import CIELabColor

    from guidance.wire.dicom_colors import hex_of_cielab

    random = np.random.default_rng(3)
    for red, green, blue in random.integers(0, 256, (200, 3)).tolist():
        stored = CIELabColor.from_rgb(red, green, blue).value
        assert hex_of_cielab(stored) == f"#{red:02x}{green:02x}{blue:02x}"


def test_where_highdicom_gives_up_and_why_ours_does_not_need_it() -> None:
    """A sheared grid, and positions written with few decimals: both are real."""
    import highdicom as hd

    tilted = ct_series(phantom(*SHAPE), **SERIES["gantry tilt"])
    dataset = written(tilted, masks(), segmentation_type="BINARY")
    with pytest.raises((RuntimeError, ValueError)):
        hd.seg.Segmentation.from_dataset(dataset).get_volume()
    assert read_segmentation(dataset).zones
    frames = [(1, (0.0, 0.0, place), np.ones((4, 4))) for place in (0.0, 1.02, 1.98, 3.0)]
    assert read_segmentation(segmentation(frames, [segment(1, "rounded")])).zones
