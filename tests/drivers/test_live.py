"""The live case's shell: what happens when the disk takes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers import live as live_room
from drivers.audit_log import AuditLog
from drivers.case_store import CaseStore
from drivers.live import LiveCase
from guidance.case import AuditLine, Author, Case, case_from_json, create_path, undo
from guidance.errors import CaseError, ConfigError
from guidance.messages import CbctVolume, PlanItem, TransformSample, VolumeState
from guidance.session import Session

_PATH = {"entry_lps_mm": [50.0, 0.0, 0.0], "target_lps_mm": [0.0, 0.0, 20.0], "diameter_mm": 7.3}

_NURSE = Author(via="http", peer="10.0.0.7:1", operator="nurse")
_PEER = Author(via="openigtlink", peer="10.0.0.8:2")


class FullDisk(CaseStore):
    """A store whose disk can be full."""

    full = False

    def save(self, case: Case) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().save(case)


def _volume(state: VolumeState = VolumeState.READY) -> CbctVolume:
    return CbctVolume(
        id="v1",
        series_instance_uid="1.2.3.4",
        study_instance_uid="1.2.3.5",
        patient_id="P",
        frame_of_reference_uid="1.2.3",
        state=state,
        shape_kji=(100, 100, 100),
        affine_lps_from_ijk=(1.0, 0, 0, -49.5, 0, 1.0, 0, -49.5, 0, 0, 1.0, -49.5, 0, 0, 0, 1.0),
    )


@pytest.fixture
def store(tmp_path: Path) -> FullDisk:
    return FullDisk(tmp_path)


class FullAudit(AuditLog):
    """An audit whose disk can be full."""

    full = False

    def append(self, line: AuditLine) -> AuditLine:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().append(line)


@pytest.fixture
def audit(tmp_path: Path) -> FullAudit:
    return FullAudit(tmp_path)


@pytest.fixture
def live(store: FullDisk, audit: FullAudit) -> LiveCase:
    return LiveCase(
        Session(),
        store,
        audit,
        undo_steps=10,
        draw=lambda effect, session: None,
        measure=lambda asked: None,
        publish_plan=lambda case: None,
        publish_zones=lambda zones: None,
        publish_needle_tip=lambda tip: None,
        publish_cement=lambda _: None,
        publish_alerts=lambda _, __: None,
        input_changed=lambda before, after: None,
        case_changed=lambda: None,
    )


def test_a_volume_that_is_refused_while_the_disk_is_full_carries_no_overlay(live: LiveCase, store: FullDisk) -> None:
    live.on_volume(_volume())
    assert live.case().active_volume_id == "v1"
    store.full = True
    live.on_volume(_volume(VolumeState.REFUSED))
    assert live.case().active is None
    assert live.counters["case_not_stored"] == 1


def test_what_the_disk_did_not_take_is_stored_later(
    live: LiveCase, store: FullDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.full = True
    live.on_volume(_volume())
    monkeypatch.setattr(live_room, "_STORE_AGAIN_NS", -1)
    live.on_tick()
    assert live.counters["case_not_stored"] == 2
    store.full = False
    live.on_tick()
    assert case_from_json((tmp_path / "case.json").read_bytes()).active_volume_id == "v1"


def test_a_path_that_the_disk_did_not_take_does_not_exist(live: LiveCase, store: FullDisk) -> None:
    store.full = True
    with pytest.raises(CaseError) as caught:
        live.edit(lambda case: create_path(case, _PATH), author=_NURSE)
    assert caught.value.code == "not_stored"
    assert live.case().paths == ()
    assert live.audit().items == ()


def test_a_path_that_the_audit_did_not_take_does_not_exist(live: LiveCase, audit: FullAudit, tmp_path: Path) -> None:
    live.edit(lambda case: create_path(case, _PATH), author=_NURSE)
    audit.full = True
    with pytest.raises(CaseError) as caught:
        live.edit(lambda case: create_path(case, _PATH), author=_NURSE)
    assert caught.value.code == "not_stored"
    assert [path.id for path in live.case().paths] == ["P1"]
    assert [path.id for path in case_from_json((tmp_path / "case.json").read_bytes()).paths] == ["P1"]
    assert [line.what for line in live.audit().items] == ["create path P1"]


def test_every_change_is_in_the_audit_with_who_made_it(live: LiveCase) -> None:
    live.on_volume(_volume())
    live.edit(lambda case: create_path(case, _PATH), author=_NURSE)
    live.on_plan([PlanItem(name="S2", entry_lps_mm=(9.0, 0, 0), target_lps_mm=(0.0, 0, 9), diameter_mm=3.2)], _PEER)
    live.edit(undo, author=_NURSE)
    told = [(line.via, line.peer, line.operator, line.what.partition(":")[0]) for line in live.audit().items]
    assert told == [
        ("server", "", "", "change case"),
        ("http", "10.0.0.7:1", "nurse", "create path P1"),
        ("openigtlink", "10.0.0.8:2", "", "create path P2"),
        ("http", "10.0.0.7:1", "nurse", "undo"),
    ]


def test_a_plan_that_the_disk_did_not_take_is_counted_and_ends_nothing(live: LiveCase, store: FullDisk) -> None:
    item: dict[str, Any] = {"name": "S1", "entry_lps_mm": (50.0, 0.0, 0.0), "target_lps_mm": (0.0, 0.0, 20.0)}
    store.full = True
    live.on_plan([PlanItem(**item, diameter_mm=7.3)], _PEER)
    assert live.case().paths == ()
    assert live.counters["plan_not_stored"] == 1


def test_a_transform_that_belongs_to_no_picture_is_counted(live: LiveCase) -> None:
    live.on_transform(TransformSample(name="Stylus", matrix=np.eye(4), timestamp_igtl=0, received_ns=0))
    assert live.counters["transform_ignored"] == 1


def test_a_case_that_may_not_be_read_is_named(store: FullDisk, tmp_path: Path) -> None:
    (tmp_path / "case.json").mkdir()
    with pytest.raises(ConfigError) as caught:
        store.load()
    assert caught.value.code == "unreadable_case"


def test_a_case_cut_off_at_any_byte_is_kept_aside(live: LiveCase, store: FullDisk, tmp_path: Path) -> None:
    live.on_volume(_volume())
    live.edit(lambda case: create_path(case, _PATH), author=_NURSE)
    whole = (tmp_path / "case.json").read_bytes()
    for size in range(0, len(whole) - 2, 11):
        (tmp_path / "case.json").write_bytes(whole[:size])
        case, damage = store.load()
        assert (case, damage is not None) == (Case(), True)
    assert len(list(tmp_path.glob("case.unreadable-*"))) == len(range(0, len(whole) - 2, 11))
