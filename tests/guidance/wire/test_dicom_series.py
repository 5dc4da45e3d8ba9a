"""A series as it grows: completion, identity, conclusion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from guidance.geometry.volume_resample import fill
from guidance.messages import Finding, Severity, VolumeState
from guidance.wire.dicom_instance import Instance, read_instance
from guidance.wire.dicom_pixels import decode_slices
from guidance.wire.dicom_series import (
    Series,
    announced_count,
    conclude,
    holds_volume,
    is_complete,
    progress,
    with_instance,
    with_problem,
)
from tests.helpers.dicom_objects import ct_series, ct_slice, multi_frame, phantom

Voxels = dict[tuple[str, int], np.ndarray]


def taken(dataset: Dataset, voxels: Voxels | None = None) -> Instance:
    instance = read_instance(dataset, name=str(dataset.SOPInstanceUID))
    pairs = list(decode_slices(dataset, instance)) if instance.slices else []
    if voxels is not None:
        voxels.update({one.key: pixels for one, pixels in pairs})
    return replace(instance, slices=tuple(one for one, _ in pairs))


def grown(datasets: list[Dataset], voxels: Voxels | None = None) -> Series:
    series = None
    for number, dataset in enumerate(datasets):
        series = with_instance(series, taken(dataset, voxels), float(number))
    assert series is not None
    return series


def codes(datasets: list[Dataset]) -> list[str]:
    return [finding.code for finding in conclude(grown(datasets))[0].volume.findings]


@settings(max_examples=20)
@given(st.permutations(range(6)))
def test_any_order_of_arrival_gives_the_same_volume(order: list[int]) -> None:
    volume = phantom()
    datasets = ct_series(volume)
    voxels: Voxels = {}
    conclusion = conclude(grown([datasets[index] for index in order], voxels))[0]
    assert conclusion.volume.state is VolumeState.READY
    assert conclusion.grid is not None
    out = np.empty(conclusion.grid.shape_kji, np.int16)
    fill(conclusion.grid, voxels.__getitem__, out)
    np.testing.assert_array_equal(out, volume)
    assert conclusion.volume.affine_lps_from_ijk == (0.7, 0, 0, -30, 0, 0.8, 0, -40, 0, 0, 2, 100, 0, 0, 0, 1)


def test_identity_is_carried() -> None:
    volume = conclude(grown(ct_series()))[0].volume
    assert (volume.patient_id, volume.patient_name, volume.study_instance_uid) == (
        "P1",
        "Phantom^One",
        "1.2.826.0.1.3680043.10.1",
    )
    assert (volume.frame_of_reference_uid, volume.patient_position) == ("1.2.826.0.1.3680043.10.9", "HFS")
    assert (volume.instance_count, volume.shape_kji, volume.shared_memory) == (6, (6, 24, 20), "")


def test_completion_by_images_in_acquisition() -> None:
    series = grown(ct_series(ImagesInAcquisition=6))
    assert is_complete(series, 5.0, quiet_s=5.0)
    assert not is_complete(replace(series, is_done=True), 100.0, quiet_s=5.0)
    first = grown(ct_series(ImagesInAcquisition=6)[:5])
    assert not is_complete(first, 8.9, quiet_s=5.0)
    assert is_complete(first, 9.0, quiet_s=5.0)


def test_completion_by_series_related_instances_goes_before_images_in_acquisition() -> None:
    series = grown(ct_series(NumberOfSeriesRelatedInstances=7, ImagesInAcquisition=6))
    assert announced_count(series) == 7
    assert not is_complete(series, 5.0, quiet_s=5.0)


def test_a_multi_frame_object_is_complete_alone() -> None:
    assert is_complete(grown([multi_frame()]), 0.0, quiet_s=5.0)


def test_a_concatenation_is_complete_with_its_last_part() -> None:
    first = multi_frame(phantom(4)[:2], ConcatenationUID="1.5", InConcatenationTotalNumber=2)
    second = multi_frame(phantom(4)[2:], origin=(-30, -40, 104), ConcatenationUID="1.5", InConcatenationTotalNumber=2)
    assert not is_complete(grown([first]), 0.0, quiet_s=5.0)
    both = grown([second, first])
    assert is_complete(both, 0.0, quiet_s=5.0)
    assert conclude(both)[0].volume.shape_kji == (4, 24, 20)


def test_a_count_that_cannot_be_the_series_is_ignored() -> None:
    assert announced_count(grown(ct_series(ImagesInAcquisition=3))) is None
    several = ct_series(ImagesInAcquisition=6)
    several[0].AcquisitionNumber = 2
    assert announced_count(grown(several)) is None


def test_fewer_than_announced_are_missing() -> None:
    assert codes(ct_series(ImagesInAcquisition=6)[:5]) == ["missing_slices"]


def test_a_late_instance_opens_the_series_again() -> None:
    datasets = ct_series()
    late = datasets.pop(3)
    series = replace(grown(datasets), is_done=True)
    assert conclude(series)[0].volume.state is VolumeState.REFUSED
    again = with_instance(series, taken(late), 50.0)
    assert not is_complete(again, 54.0, quiet_s=5.0)
    assert is_complete(again, 55.0, quiet_s=5.0)
    assert conclude(again)[0].volume.state is VolumeState.READY
    assert conclude(again)[0].volume.id == conclude(series)[0].volume.id == progress(again).id


def test_mixed_patients_are_refused_before_anything_else() -> None:
    datasets = ct_series()
    datasets[2].PatientID = "P2"
    conclusion = conclude(grown(datasets))[0]
    assert [finding.code for finding in conclusion.volume.findings] == ["mixed_patients"]
    assert conclusion.grid is None


def test_mixed_studies_are_refused() -> None:
    datasets = ct_series()
    datasets[2].StudyInstanceUID = "1.2.3"
    assert codes(datasets) == ["mixed_studies"]


def test_a_name_with_empty_components_is_the_same_patient() -> None:
    datasets = ct_series()
    datasets[2].PatientName = "Phantom^One^^^"
    assert codes(datasets) == []


def test_a_scout_in_the_series_is_left_out() -> None:
    scout = ct_slice(
        phantom(1)[0],
        position=(0, 0, 0),
        orientation=(1, 0, 0, 0, 0, -1),
        series_uid=ct_series()[0].SeriesInstanceUID,
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    series = grown([scout, *ct_series()])
    assert conclude(series)[0].volume.state is VolumeState.READY
    assert conclude(series)[0].volume.shape_kji == (6, 24, 20)
    assert not holds_volume(grown([scout]))


def test_two_reconstructions_in_one_series_are_two_volumes() -> None:
    bone = ct_series(phantom(seed=2), ImageType=["DERIVED", "PRIMARY", "AXIAL"])
    conclusions = conclude(grown([*ct_series(), *bone[:5]]))
    assert [one.volume.state for one in conclusions] == [VolumeState.READY, VolumeState.READY]
    assert [one.volume.shape_kji for one in conclusions] == [(6, 24, 20), (5, 24, 20)]
    assert len({one.volume.id for one in conclusions}) == 2


def test_one_unusable_instance_refuses_the_series() -> None:
    datasets = ct_series()
    series = with_problem(
        grown(datasets),
        str(datasets[1].SOPInstanceUID),
        Finding(code="unreadable_pixels", severity=Severity.ERROR, message="broken"),
    )
    volume = conclude(series)[0].volume
    assert (volume.state, [finding.code for finding in volume.findings]) == (
        VolumeState.REFUSED,
        ["unreadable_pixels"],
    )


def test_many_unusable_instances_are_one_short_finding() -> None:
    findings = conclude(grown(ct_series(RescaleSlope=None)))[0].volume.findings
    assert [finding.code for finding in findings] == ["not_calibrated"]
    assert findings[0].message.endswith("and 3 more")
