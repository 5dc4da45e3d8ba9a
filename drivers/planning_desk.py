"""Answers planning questions inside the planning process: opens volumes, keeps what was worked out, stores masks."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Final, get_args

import msgspec
import numpy as np

from drivers.dicom_memory import load_volume
from drivers.planning_library import c_arm_of, c_arms_of, instruments_of
from drivers.planning_messages import (
    Answer,
    BoneAnswer,
    BoneQuestion,
    ClearanceAnswer,
    ClearanceQuestion,
    CorridorAnswer,
    CorridorQuestion,
    ImportQuestion,
    ProposeQuestion,
    Question,
    RegistrationQuestion,
    SpaceAnswer,
    SpaceQuestion,
    SurfaceAnswer,
    SurfaceQuestion,
    ViewsAnswer,
    ViewsQuestion,
    WatchQuestion,
    ZonesAnswer,
)
from drivers.planning_volume import planned_volume
from drivers.pose_desk import PoseDesk
from drivers.zone_store import ZoneStore
from guidance.case import BadFieldsError, FieldError
from guidance.cement.space import cement_space
from guidance.config import PlanningSettings
from guidance.errors import GeometryError
from guidance.messages import CbctVolume, Finding, Severity, Zone, ZoneKind, ZoneSite
from guidance.planning.bone import propose_bone, propose_skin
from guidance.planning.corridor import Level
from guidance.planning.model import PlanningModel, ZoneFields
from guidance.planning.volume import PlanningVolume
from guidance.wire.label_names import label_names
from guidance.wire.read_zones import check_against_volume
from guidance.wire.zone_files import is_markups, read_drawn_zones, read_zone_file, zones_of

_PROPOSALS: Final = {
    "bone": (propose_bone, "Bone (proposed)", ZoneSite.BONE, ZoneKind.TARGET),
    "skin": (propose_skin, "Skin (proposed)", ZoneSite.SKIN, ZoneKind.KEEP_OUT),
}


class PlanningDesk:
    """One server's planning.

    Args:
        settings: section `planning`.
        data_dir: the server's data folder.

    Raises:
        ConfigError: a library file that cannot be used.
    """

    def __init__(self, settings: PlanningSettings, data_dir: Path) -> None:
        self._settings = settings
        self._store = ZoneStore(data_dir)
        self._fields = ZoneFields(self._store.load)
        self._library = instruments_of(settings)
        self._c_arm = c_arm_of(settings, c_arms_of(settings))
        self._lock = threading.Lock()
        self._pose = PoseDesk()
        self._opened: tuple[tuple[str, str], PlanningModel] | None = None
        self._empty = self._model_of(None)

    def answer(self, question: Question) -> Answer:
        """Answer one question; may be called from several threads.

        Raises:
            GuidanceError: why there is no answer.
        """
        match question:
            case ClearanceQuestion(path=path, others=others, zones=zones, volume=volume):
                model = self._model(volume)
                # A drag is answered at once: bone and skin only where they are there already.
                bone = model.known_bone(zones)
                clearance = model.clearance(path, zones, others, bone=bone)
                if not model.bone_is_worked_out(zones):
                    words = "bone and skin are still being worked out: ask again in a few seconds"
                    pending = Finding(code="bone_pending", severity=Severity.WARNING, message=words)
                    clearance = msgspec.structs.replace(clearance, findings=(*clearance.findings, pending))
                return ClearanceAnswer(clearance)
            case ViewsQuestion(path=path, zones=zones, volume=volume):
                return ViewsAnswer(
                    self._model(volume).views(
                        path,
                        zones,
                        patient_position=volume.patient_position if volume else "",
                        isocenter_lps_mm=volume.isocenter_lps_mm if volume else None,
                    )
                )
            case SurfaceQuestion(zone=zone):
                surface = self._fields.surface(zone.shape)
                return SurfaceAnswer(
                    vertices_lps_mm=np.ascontiguousarray(surface.vertices_lps_mm, np.float32).tobytes(),
                    triangles=np.ascontiguousarray(surface.triangles, np.int32).tobytes(),
                )
            case BoneQuestion(zones=zones, volume=volume):
                bone = self._model(volume).prepare(zones)
                return BoneAnswer(words=bone.source if bone else "")
            case CorridorQuestion():
                return self._corridor(question)
            case ImportQuestion():
                return self._imported(question)
            case ProposeQuestion(what=what, volume=volume):
                return self._proposed(what, volume)
            case SpaceQuestion(volume=volume):
                opened = self._model(volume).volume
                assert opened is not None
                return SpaceAnswer(cement_space(opened.voxels_hu, opened.affine_lps_from_ijk))
            case WatchQuestion() | RegistrationQuestion():
                model = self._model(question.volume)
                assert model.volume is not None
                return self._pose.answer(question, model.volume)

    def _corridor(self, question: CorridorQuestion) -> Answer:
        if question.level not in get_args(Level):
            raise BadFieldsError([FieldError("level", f"must be one of {', '.join(get_args(Level))}")], what="corridor")
        begun_s = time.monotonic()
        corridor = self._model(question.volume).corridor(
            question.zones,
            level=question.level,  # type: ignore[arg-type]  # just found in get_args(Level)
            diameter_mm=question.diameter_mm,
            margin_mm=question.margin_mm,
            side=question.side,
        )
        return CorridorAnswer(msgspec.structs.replace(corridor, search_s=round(time.monotonic() - begun_s, 3)))

    def _imported(self, question: ImportQuestion) -> Answer:
        data = Path(question.path).read_bytes()
        if is_markups(data):
            zones, findings = read_drawn_zones(data, origin=question.filename)
            return ZonesAnswer(zones=zones, findings=findings, frame_of_reference_uid="")
        volume = self._model(question.volume).volume
        # Without names nobody knows what a number stands for: each label stays "label N", kept out of.
        names = {} if question.names is None else label_names(_text(question.names), origin="names")
        read = read_zone_file(data, origin=question.filename, names=names, volume=volume)
        if volume is not None:
            read = check_against_volume(
                read, volume.voxels_hu.shape, volume.affine_lps_from_ijk, volume.frame_of_reference_uid
            )
        return ZonesAnswer(
            zones=zones_of(read.zones, self._store.save),
            findings=read.findings,
            frame_of_reference_uid=read.frame_of_reference_uid,
        )

    def _proposed(self, what: str, volume: CbctVolume) -> Answer:
        model = self._model(volume)
        assert model.volume is not None
        propose, name, site, kind = _PROPOSALS[what]
        occupancy = propose(model.volume.voxels_hu, model.volume.affine_lps_from_ijk)
        if not occupancy.values.any():
            raise GeometryError(
                f"the volume shows no {what}", code="nothing_to_propose", mend="import or draw the zone instead"
            )
        zone = Zone(
            id="",
            name=name,
            site=site,
            kind=kind,
            shape=self._store.save(occupancy),
            color="",
            shown=False,
            origin="proposed",
            origin_uid=f"{volume.series_instance_uid}:{what}",
        )
        return ZonesAnswer(zones=(zone,), findings=(), frame_of_reference_uid=model.volume.frame_of_reference_uid)

    def _model(self, volume: CbctVolume | None) -> PlanningModel:
        """The model of a volume; the newest stays open, with a copy of its voxels: its block may be replaced."""
        if volume is None or not volume.shared_memory:
            return self._empty
        key = (volume.id, volume.shared_memory)
        with self._lock:
            if self._opened is None or self._opened[0] != key:
                self._opened = None  # two volumes at once would be twice the memory
                voxels = load_volume(volume)
                voxels.flags.writeable = False
                self._opened = (key, self._model_of(planned_volume(volume, voxels)))
            return self._opened[1]

    def _model_of(self, volume: PlanningVolume | None) -> PlanningModel:
        return PlanningModel(volume, self._fields, library=self._library, c_arm=self._c_arm, settings=self._settings)


def _text(names: bytes) -> str:
    try:
        return names.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFieldsError([FieldError("names", "must be UTF-8 text")], what="import") from None
