"""A series as it grows: when it is complete, and what volumes it then is. Time is passed in, nothing is waited for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from guidance.geometry.volume_grid import VolumeGrid, arrange
from guidance.geometry.volume_groups import split
from guidance.geometry.volume_slices import SliceDescription
from guidance.messages import CbctVolume, Finding, Severity, Vector3, VolumeState
from guidance.wire.dicom_instance import Instance

_MAXIMUM_LISTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What has arrived of one series.

    Attributes:
        uid: Series Instance UID.
        instances: by name, in the order of arrival; the order has no meaning.
        problems: pixel problems found while decoding, by instance name.
        last_arrival_s: monotonic time of the newest instance.
        is_done: published since the newest instance came.
    """

    uid: str
    instances: Mapping[str, Instance]
    problems: Mapping[str, Finding]
    last_arrival_s: float
    is_done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """One volume of a concluded series: the message, and the grid by which to fill its voxels unless refused."""

    volume: CbctVolume
    grid: VolumeGrid | None


def with_instance(series: Series | None, instance: Instance, now_s: float) -> Series:
    """The series with one more instance; re-opened if it was done."""
    if series is None:
        series = Series(uid=instance.series_instance_uid, instances={}, problems={}, last_arrival_s=now_s)
    instances = {**series.instances, instance.name: instance}
    return replace(series, instances=instances, last_arrival_s=now_s, is_done=False)


def with_problem(series: Series, name: str, problem: Finding) -> Series:
    """The series where an instance turned out to be unusable: it still counts as arrived, its slices are gone."""
    without = replace(series.instances[name], slices=(), calibrations=())
    return replace(series, instances={**series.instances, name: without}, problems={**series.problems, name: problem})


def announced_count(series: Series) -> int | None:
    """How many instances the sender announced, or None.

    Images in Acquisition (0020,1002) counts one acquisition, so it says nothing where several share the series, or
    where more came than it announced.
    """
    counts = {one.announced for one in series.instances.values() if one.announced is not None}
    acquisitions = {one.acquisition_number for one in series.instances.values()}
    if len(counts) != 1 or len(acquisitions) != 1:
        return None
    count = counts.pop()
    return count if count >= len(series.instances) else None


def is_complete(series: Series, now_s: float, quiet_s: float) -> bool:
    """Whether the series may be concluded: its count is reached, or nothing came for the quiet period."""
    if series.is_done:
        return False
    return len(series.instances) == announced_count(series) or now_s - series.last_arrival_s >= quiet_s


def holds_volume(series: Series) -> bool:
    """Whether the series is to become a volume at all: segmentations, scouts and structure sets are not."""
    return bool(series.problems) or any(one.slices or one.problems for one in series.instances.values())


def volume_id(series_uid: str, part: str = "") -> str:
    """The server's id of a volume, the same after every restart."""
    return hashlib.sha256(f"{series_uid}/{part}".encode()).hexdigest()[:12]


def progress(series: Series) -> CbctVolume:
    """The message while a series is being received."""
    return _message(series, volume_id(series.uid), tuple(series.instances.values()))


def conclude(series: Series) -> tuple[Conclusion, ...]:
    """Make the volumes of a complete series, the largest first; it has the series' own id.

    Args:
        series: digests set on all slices.
    """
    instances = tuple(series.instances.values())
    problems = _series_problems(series)
    if problems:
        refused = replace(
            _message(series, volume_id(series.uid), instances), state=VolumeState.REFUSED, findings=problems
        )
        return (Conclusion(volume=refused, grid=None),)
    stacks = split(tuple(one for instance in instances for one in instance.slices))
    return tuple(_conclude_stack(series, stack, is_main=index == 0) for index, stack in enumerate(stacks))


def _conclude_stack(series: Series, stack: tuple[SliceDescription, ...], *, is_main: bool) -> Conclusion:
    names = {one.instance_uid for one in stack}
    instances = tuple(one for one in series.instances.values() if one.name in names)
    identity = volume_id(series.uid, "" if is_main else repr((stack[0].variant, stack[0].rows, stack[0].spacing_mm)))
    arrangement = arrange(stack)
    message = replace(
        _message(series, identity, instances),
        state=VolumeState.REFUSED if arrangement.grid is None else VolumeState.READY,
        findings=arrangement.findings,
    )
    if arrangement.grid is not None:
        affine = arrangement.grid.affine_lps_from_ijk
        message = replace(
            message,
            shape_kji=arrangement.grid.shape_kji,
            affine_lps_from_ijk=tuple(float(value) for value in affine.ravel()),
        )
    return Conclusion(volume=message, grid=arrangement.grid)


def _message(series: Series, identity: str, instances: tuple[Instance, ...]) -> CbctVolume:
    first = next((one for one in instances if one.slices), instances[0])
    plane = first.slices[0] if first.slices else None
    return CbctVolume(
        id=identity,
        series_instance_uid=series.uid,
        study_instance_uid=first.study_instance_uid,
        patient_id=first.patient_id,
        patient_name=first.patient_name,
        frame_of_reference_uid=plane.frame_of_reference_uid if plane else "",
        patient_position=plane.patient_position if plane else "",
        state=VolumeState.RECEIVING,
        table_at_cbct_mm=_agreed([one.table_at_cbct_mm for one in instances]),
        isocenter_lps_mm=_agreed([one.isocenter_lps_mm for one in instances]),
        instance_count=len(instances),
        description=first.description,
    )


def _series_problems(series: Series) -> tuple[Finding, ...]:
    """What refuses the whole series: identity first, for nothing of a mixed-up patient may be shown."""
    instances = tuple(series.instances.values())
    findings = []
    patients = {(one.patient_id, one.patient_name.rstrip("^ ")) for one in instances}
    if len(patients) > 1:
        words = f"{len(patients)} patients in one series"
        findings.append(Finding(code="mixed_patients", severity=Severity.ERROR, message=words))
    if len({one.study_instance_uid for one in instances}) > 1:
        words = "slices of several studies in one series"
        findings.append(Finding(code="mixed_studies", severity=Severity.ERROR, message=words))
    by_code: dict[str, list[Finding]] = {}
    for problem in (*(found for one in instances for found in one.problems), *series.problems.values()):
        by_code.setdefault(problem.code, []).append(problem)
    for code, found in by_code.items():
        words = "; ".join(one.message for one in found[:_MAXIMUM_LISTED])
        if len(found) > _MAXIMUM_LISTED:
            words += f"; and {len(found) - _MAXIMUM_LISTED} more"
        findings.append(Finding(code=code, severity=Severity.ERROR, message=words))
    announced = announced_count(series)
    if announced is not None and len(instances) < announced:
        words = f"{announced} instances were announced, {len(instances)} came"
        findings.append(Finding(code="missing_slices", severity=Severity.ERROR, message=words))
    return tuple(findings)


def _agreed(values: list[Vector3 | None]) -> Vector3 | None:
    """The value that all give, else None: what differs is unknown."""
    return values[0] if len(set(values)) == 1 else None
