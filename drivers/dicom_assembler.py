"""Reads stored instances in the background and hands finished volumes over: one thread that owns every series."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np

from drivers.dicom_ledger import CrashLedger
from drivers.dicom_memory import I16
from drivers.dicom_messages import LogLevel
from drivers.dicom_store import Kept
from drivers.dicom_voxels import Key, VoxelShelf
from guidance.errors import CaseError, WireError
from guidance.messages import CbctVolume, Finding, Severity, StoredZones, VolumeState
from guidance.wire.dicom_classes import CT_IMAGE, ZONE_CLASSES
from guidance.wire.dicom_instance import Instance, parse, read_instance
from guidance.wire.dicom_pixels import decode_slices
from guidance.wire.dicom_series import (
    Conclusion,
    Series,
    conclude,
    holds_volume,
    is_complete,
    progress,
    with_instance,
    with_problem,
)

_PROGRESS_INTERVAL_S: Final = 0.25
_POLL_S: Final = 0.1
_FEW: Final = 12  # places of one series: CT fluoroscopy comes back to the same ones; a volume has many more


class Assembler:
    """Turns stored instances into volumes.

    Args:
        quiet_s: silence after which a series counts as complete.
        shelf: keeps voxels.
        ledger: remembers what was being decoded when the process died.
        on_volume: called for every change of a volume.
        on_zones: called for every Segmentation and RT Structure Set.
        on_slice: called for every new CT Image of a series that holds only a few places, however often each: CT
            fluoroscopy, not a volume.
        count, log: as in `StorageScp`.
        old: what was stored before this start, newest first; assembled again when nothing new waits.
    """

    def __init__(
        self,
        *,
        quiet_s: float,
        shelf: VoxelShelf,
        ledger: CrashLedger,
        on_volume: Callable[[CbctVolume], None],
        on_zones: Callable[[StoredZones], None] = lambda _: None,
        on_slice: Callable[[Kept], None] = lambda _: None,
        count: Callable[[str], None],
        log: Callable[[LogLevel, str], None],
        old: Sequence[Kept] = (),
    ) -> None:
        self._quiet_s = quiet_s
        self._shelf = shelf
        self._ledger = ledger
        self._on_volume = on_volume
        self._on_zones = on_zones
        self._on_slice = on_slice
        self._count = count
        self._log = log
        # Unbounded on purpose: it holds names of files that are safe on disk, never pixels, and none may be dropped.
        self._incoming: queue.SimpleQueue[Kept | None] = queue.SimpleQueue()
        self._old = list(reversed(old))
        self._old_series: list[str] = []
        self._series: dict[str, Series] = {}
        self._places: dict[str, set[tuple[int, ...]]] = {}  # by series, mm; no more than tell a volume
        self._kept: dict[str, Kept] = {}
        self._published: dict[str, CbctVolume] = {}
        self._told_s: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="dicom-assembler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, kept: Kept) -> None:
        """Take an instance that has just been stored."""
        self._incoming.put(kept)

    def stop(self, timeout_s: float) -> None:
        """End after the instance at hand; what is not assembled is on disk and will be at the next start."""
        self._incoming.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            try:
                kept = self._incoming.get(block=not (self._old or self._old_series), timeout=_POLL_S)
            except queue.Empty:
                self._survive(self._read_one_old)
            else:
                if kept is None:
                    return
                self._survive(partial(self._take, kept))
            for uid, series in list(self._series.items()):
                if is_complete(series, time.monotonic(), self._quiet_s):
                    self._survive(partial(self._conclude, uid, is_old=False))

    def _survive(self, step: Callable[[], None]) -> None:
        """A fault of ours on one object must not end reception of the others, nor come back with every restart."""
        try:
            step()
        except Exception:
            self._count("assembler_error")
            self._log("error", f"an object is stored but was not understood: {traceback.format_exc()}")

    def _take(self, kept: Kept) -> None:
        found = self._header(kept)
        if found is None:
            return
        instance, dataset = found
        uid = instance.series_instance_uid
        self._series[uid] = with_instance(self._series.get(uid), instance, time.monotonic())
        if instance.sop_class_uid == CT_IMAGE and self._at_few_places(instance):
            self._on_slice(kept)
        self._series[uid] = self._decode(self._series[uid], instance, dataset)
        if uid in self._old_series:
            self._old_series.remove(uid)
        self._tell_progress(self._series[uid])

    def _at_few_places(self, instance: Instance) -> bool:
        places = self._places.setdefault(instance.series_instance_uid, set())
        if len(places) <= _FEW:
            places.update(tuple(round(mm) for mm in one.position_mm) for one in instance.slices)
        return len(places) <= _FEW

    def _read_one_old(self) -> None:
        """Headers of everything first, so that each series is whole; then one series at a time, the newest first."""
        if self._old:
            found = self._header(self._old.pop())
            if found is not None:
                uid = found[0].series_instance_uid
                series = with_instance(self._series.get(uid), found[0], time.monotonic())
                if uid not in self._series:
                    self._old_series.append(uid)
                # Done as far as time is concerned: it must not be concluded before its turn.
                self._series[uid] = replace(series, is_done=uid in self._old_series)
        elif self._old_series:
            self._conclude(self._old_series.pop(0), is_old=True)

    def _header(self, kept: Kept) -> tuple[Instance, Any] | None:
        try:
            dataset = parse(kept.path.read_bytes())
            instance = read_instance(dataset, name=kept.name)
        except (WireError, OSError) as error:
            self._count("unreadable_instance")
            self._log("error", f"{kept.path.name} is stored but cannot be used: {error}")
            return None
        self._kept[kept.name] = kept
        if instance.sop_class_uid in ZONE_CLASSES:
            self._on_zones(
                StoredZones(
                    path=str(kept.path),
                    name=instance.name,
                    patient_id=instance.patient_id,
                    description=instance.description,
                )
            )
        return instance, dataset

    def _decode(self, series: Series, instance: Instance, dataset: Any) -> Series:
        """The series with the instance's slices decoded and staged, or with the problem that they have."""
        if not instance.slices:
            return series
        try:
            if self._ledger.gave_up_on(instance.name):
                raise WireError(f"{instance.name}: decoding it ended the process", code="unreadable_pixels")
            with self._ledger.attempt(instance.name):
                decoded = list(decode_slices(dataset, instance))
        except WireError as error:
            self._count(error.code)
            problem = Finding(code=error.code, severity=Severity.ERROR, message=str(error))
            return with_problem(series, instance.name, problem)
        self._shelf.stage({one.key: pixels for one, pixels in decoded})
        instance = replace(instance, slices=tuple(one for one, _ in decoded))
        return replace(series, instances={**series.instances, instance.name: instance})

    def _read_again(self, series: Series, name: str) -> Mapping[Key, I16]:
        dataset = parse(self._kept[name].path.read_bytes())
        return {one.key: pixels for one, pixels in decode_slices(dataset, series.instances[name])}

    def _tell_progress(self, series: Series) -> None:
        now_s = time.monotonic()
        if holds_volume(series) and now_s - self._told_s.get(series.uid, -np.inf) >= _PROGRESS_INTERVAL_S:
            self._told_s[series.uid] = now_s
            message = progress(series)
            # A re-opened volume keeps its voxels until the new ones are there.
            known = self._published.get(message.id, message)
            self._on_volume(replace(known, state=VolumeState.RECEIVING, instance_count=message.instance_count))

    def _conclude(self, uid: str, *, is_old: bool) -> None:
        series = self._series[uid]
        self._series[uid] = replace(series, is_done=True)
        if holds_volume(series):
            for instance in tuple(series.instances.values()):
                if any(not one.digest for one in instance.slices):
                    series = self._decode(series, instance, parse(self._kept[instance.name].path.read_bytes()))
            for conclusion in conclude(series):
                self._publish(series, conclusion, is_old=is_old)
        self._shelf.drop(one.key for instance in series.instances.values() for one in instance.slices)
        self._series[uid] = replace(series, is_done=True)
        self._told_s.pop(uid, None)

    def _publish(self, series: Series, conclusion: Conclusion, *, is_old: bool) -> None:
        volume = conclusion.volume
        if conclusion.grid is not None:
            try:
                name = self._shelf.fill_block(
                    volume.id, conclusion.grid, lambda name: self._read_again(series, name), spare_half=is_old
                )
                volume = replace(volume, shared_memory=name)
            except (CaseError, WireError) as error:
                volume = _refused(volume, error.code, str(error))
            except OSError as error:
                volume = _refused(volume, "unreadable_pixels", f"a stored file cannot be read: {error}")
        for finding in volume.findings:
            self._count(finding.code)
        self._count(f"volume_{volume.state.value}")
        codes = ", ".join(finding.code for finding in volume.findings) or "nothing found"
        self._log("info", f"volume {volume.id} {volume.state.value}: {volume.instance_count} instances, {codes}")
        self._published[volume.id] = volume
        self._on_volume(volume)


def _refused(volume: CbctVolume, code: str, words: str) -> CbctVolume:
    finding = Finding(code=code, severity=Severity.ERROR, message=words)
    return replace(
        volume,
        state=VolumeState.REFUSED,
        findings=(finding, *volume.findings),
        shape_kji=None,
        affine_lps_from_ijk=None,
    )
