"""The case value: everything that is planned and known about one patient."""

from __future__ import annotations

from dataclasses import dataclass, field

from guidance.case.changes import History
from guidance.errors import CaseError
from guidance.messages import AcceptedRegistration, CbctVolume, PlannedPath, Zone


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveVolume:
    """The volume that counts, as far as the case must remember it over a restart.

    Attributes:
        id: the server's id of it.
        series_instance_uid, study_instance_uid, patient_id: DICOM identity of the case.
        frame_of_reference_uid: the frame paths are planned in; the series UID where the objects have none, for a
            volume without a Frame of Reference shares one with nothing else.
        shape_kji, affine_lps_from_ijk: its grid; another grid under the same id is a new registration.
    """

    id: str
    series_instance_uid: str
    study_instance_uid: str
    patient_id: str
    frame_of_reference_uid: str
    shape_kji: tuple[int, int, int] | None
    affine_lps_from_ijk: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeQuestion:
    """What the operator is asked: use this newer volume of the same patient and study?"""

    volume_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything that is planned and known about one patient.

    Attributes:
        paths, zones: in the order they were made.
        volumes: every volume the server holds, oldest first.
        active: the volume that counts; None until one is ready.
        patient_id, study_instance_uid: whose case it is, from the first active volume on; None for an empty case.
        epoch: number of the registration; 0 before the first volume, +1 with each active volume, frame or accepted
            registration.
        registration: where the active volume is seen, as found by registration; None: where the geometry tells.
        shared_frame_confirmed: the operator said that stream and active volume share a frame; ends with the epoch.
        question: pending question about a newer volume.
        path_count, zone_count: ever made in this case; ids come from them and are never reused.
        plan_names: (name in an OpenIGTLink plan, path id) pairs, so that the plan sent again changes its paths.
        dismissed: ids of the volumes of cases before this one, which become active by the operator's word only.
        history: what can be undone and redone.
        zones_shown: zones are outlined on the live picture; the operator's switch for all of them.
        imported: names of the DICOM objects whose zones were taken over, so that a restart does not bring back what
            was deleted since.
    """

    paths: tuple[PlannedPath, ...] = ()
    zones: tuple[Zone, ...] = ()
    volumes: tuple[CbctVolume, ...] = ()
    active: ActiveVolume | None = None
    patient_id: str | None = None
    study_instance_uid: str | None = None
    epoch: int = 0
    registration: AcceptedRegistration | None = None
    shared_frame_confirmed: bool = False
    question: VolumeQuestion | None = None
    path_count: int = 0
    zone_count: int = 0
    plan_names: tuple[tuple[str, str], ...] = ()
    dismissed: tuple[str, ...] = ()
    history: History = field(default_factory=History)
    imported: tuple[str, ...] = ()
    zones_shown: bool = True

    @property
    def active_volume_id(self) -> str:
        """Id of the active volume, "" without one."""
        return self.active.id if self.active else ""

    @property
    def frame_of_reference_uid(self) -> str:
        """Frame the case plans in, "" without an active volume."""
        return self.active.frame_of_reference_uid if self.active else ""


def is_in_active_frame(case: Case, item: PlannedPath | Zone) -> bool:
    """Whether a path or zone is of the active volume's frame and patient; true while no volume is active."""
    frame_uid = case.frame_of_reference_uid
    same_frame = item.frame_of_reference_uid == frame_uid and item.patient_id in (None, case.patient_id)
    return not frame_uid or same_frame


def check_same_case(asked: Case, case: Case) -> None:
    """Refuse what was worked out for a case that is another one by now: another patient's, or another registration.

    Raises:
        CaseError: `case_changed`.
    """
    if (asked.epoch, asked.history.count) != (case.epoch, case.history.count):
        raise CaseError(
            "the case has changed while this was worked out, so nothing of it was taken over",
            code="case_changed",
            mend="look at the case, and send it again if it still belongs there",
        )


def check_same_registration(asked: Case, case: Case) -> None:
    """Refuse to tell what was worked out in a registration, or for a patient, that no longer counts.

    Raises:
        CaseError: `case_changed`.
    """
    if (asked.epoch, asked.active_volume_id, asked.patient_id) != (case.epoch, case.active_volume_id, case.patient_id):
        raise CaseError(
            "another volume counts since this was asked, so the answer is not told",
            code="case_changed",
            mend="ask again: places and angles of the former registration do not hold in this one",
        )


def new_case(case: Case) -> Case:
    """An empty case for the next patient: volumes stay listed, the epoch goes on so that no number comes twice."""
    known = {*case.dismissed, *(volume.id for volume in case.volumes), case.active_volume_id} - {""}
    return Case(
        volumes=case.volumes,
        epoch=case.epoch + 1 if case.epoch else 0,
        path_count=case.path_count,
        zone_count=case.zone_count,
        dismissed=tuple(sorted(known)),
        history=History(count=case.history.count + 1, said="new case"),
    )
