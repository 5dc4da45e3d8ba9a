"""Reads stored instances in the background and hands finished volumes over; one thread, its series, their voxels."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from drivers.dicom_memory import I16, create_block, remove_block
from drivers.dicom_messages import LogLevel
from drivers.dicom_store import Kept
from guidance.errors import CaseError, WireError
from guidance.geometry.volume_resample import fill
from guidance.messages import CbctVolume, Finding, Severity, VolumeState
from guidance.wire.dicom_instance import Instance, parse, read_instance
from guidance.wire.dicom_pixels import decode_slices
from guidance.wire.dicom_series import Conclusion, Series, conclude, holds_volume, is_complete, progress, with_instance

_PROGRESS_INTERVAL_S: Final = 0.25
_STAGED_LIMIT_BYTES: Final = 3 << 30  # decoded voxels kept until the series is complete; beyond, files are read again
_POLL_S: Final = 0.2

Key = tuple[str, int]


class Assembler:
    """Thread that turns stored instances into volumes.

    Args:
        quiet_s: silence after which a series counts as complete.
        memory_prefix: what the names of its shared memory blocks begin with.
        on_volume: called for every change of a volume.
        count, log: as in `StorageScp`.
    """

    def __init__(
        self,
        *,
        quiet_s: float,
        memory_prefix: str,
        on_volume: Callable[[CbctVolume], None],
        count: Callable[[str], None],
        log: Callable[[LogLevel, str], None],
    ) -> None:
        self._quiet_s = quiet_s
        self._prefix = memory_prefix
        self._on_volume = on_volume
        self._count = count
        self._log = log
        # Unbounded on purpose: it holds names of files that are safe on disk, never pixels, and none may be dropped.
        self._incoming: queue.SimpleQueue[tuple[Kept, bool] | None] = queue.SimpleQueue()
        self._series: dict[str, Series] = {}
        self._kept: dict[str, Kept] = {}
        self._staged: dict[Key, I16] = {}
        self._staged_bytes = 0
        self._blocks: dict[str, list[str]] = {}
        self._block_number = 0
        self._told_s: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="dicom-assembler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, kept: Kept, *, is_old: bool = False) -> None:
        """Take an instance; `is_old` ones were stored before this start, and nobody waits for more of them."""
        self._incoming.put((kept, is_old))

    def stop(self, timeout_s: float) -> None:
        """End after the instance at hand; what is not assembled is on disk and will be at the next start."""
        self._incoming.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            try:
                entry = self._incoming.get(timeout=_POLL_S)
            except queue.Empty:
                self._conclude_due(time.monotonic())
                continue
            if entry is None:
                return
            kept, is_old = entry
            self._take(kept, time.monotonic() - (self._quiet_s if is_old else 0.0))
            if self._incoming.empty() or not is_old:
                self._conclude_due(time.monotonic())

    def _take(self, kept: Kept, arrival_s: float) -> None:
        try:
            dataset = parse(kept.path.read_bytes())
            instance = read_instance(dataset, name=kept.name)
        except (WireError, OSError) as error:
            self._count("unreadable_instance")
            self._log("error", f"{kept.path.name} is stored but cannot be used: {error}")
            return
        problem: Finding | None = None
        if instance.slices:
            try:
                decoded = list(decode_slices(dataset, instance))
            except WireError as error:
                problem = Finding(code=error.code, severity=Severity.ERROR, message=str(error))
                instance = replace(instance, slices=(), calibrations=())
                self._count(error.code)
            else:
                instance = replace(instance, slices=tuple(one for one, _ in decoded))
                self._stage(decoded_pixels={one.key: pixels for one, pixels in decoded})
        self._kept[kept.name] = kept
        uid = instance.series_instance_uid
        series = with_instance(self._series.get(uid), instance, arrival_s, problem)
        self._series[uid] = series
        self._tell_progress(series)

    def _stage(self, decoded_pixels: dict[Key, I16]) -> None:
        size = sum(pixels.nbytes for pixels in decoded_pixels.values())
        if self._staged_bytes + size <= _STAGED_LIMIT_BYTES:
            self._staged.update(decoded_pixels)
            self._staged_bytes += size

    def _tell_progress(self, series: Series) -> None:
        now_s = time.monotonic()
        if holds_volume(series) and now_s - self._told_s.get(series.uid, -np.inf) >= _PROGRESS_INTERVAL_S:
            self._told_s[series.uid] = now_s
            self._on_volume(progress(series))

    def _conclude_due(self, now_s: float) -> None:
        for uid, series in self._series.items():
            if not is_complete(series, now_s, self._quiet_s):
                continue
            if holds_volume(series):
                for conclusion in conclude(series):
                    self._publish(series, conclusion)
            self._unstage(series)
            self._series[uid] = replace(series, is_done=True)
            self._told_s.pop(uid, None)

    def _publish(self, series: Series, conclusion: Conclusion) -> None:
        volume = conclusion.volume
        if conclusion.grid is not None:
            try:
                volume = self._fill(series, conclusion)
            except (CaseError, WireError, OSError) as error:
                code = error.code if isinstance(error, CaseError | WireError) else "unreadable_pixels"
                finding = Finding(code=code, severity=Severity.ERROR, message=str(error))
                volume = replace(
                    volume,
                    state=VolumeState.REFUSED,
                    findings=(finding, *volume.findings),
                    shape_kji=None,
                    affine_lps_from_ijk=None,
                )
        for finding in volume.findings:
            self._count(finding.code)
        self._count(f"volume_{volume.state.value}")
        self._log("info", f"volume {volume.id}: {volume.state.value}, {volume.instance_count} instances")
        self._on_volume(volume)
        self._forget_blocks(volume.id)

    def _fill(self, series: Series, conclusion: Conclusion) -> CbctVolume:
        grid = conclusion.grid
        if grid is None:
            raise ValueError("a refused volume has no voxels")
        self._block_number += 1
        name = f"{self._prefix}{conclusion.volume.id}_{self._block_number}"
        block = create_block(name, 2 * int(np.prod(grid.shape_kji)))
        try:
            out: I16 = np.ndarray(grid.shape_kji, dtype=np.int16, buffer=block.buf)
            fill(grid, lambda key: self._pixels(series, key), out)
            del out
        except BaseException:
            remove_block(name)
            raise
        finally:
            block.close()
        self._blocks.setdefault(conclusion.volume.id, []).append(name)
        return replace(conclusion.volume, shared_memory=name)

    def _pixels(self, series: Series, key: Key) -> I16:
        if key not in self._staged:
            instance = series.instances[key[0]]
            self._staged.update({one.key: pixels for one, pixels in decode_slices(self._read(instance), instance)})
        return self._staged[key]

    def _read(self, instance: Instance):  # type: ignore[no-untyped-def]
        return parse(self._kept[instance.name].path.read_bytes())

    def _unstage(self, series: Series) -> None:
        for instance in series.instances.values():
            for one in instance.slices:
                self._staged.pop(one.key, None)
        self._staged_bytes = sum(pixels.nbytes for pixels in self._staged.values())

    def _forget_blocks(self, volume_id: str) -> None:
        """Remove all but the two newest blocks: a reader may be opening the last but one right now."""
        names = self._blocks.get(volume_id, [])
        while len(names) > 2:
            remove_block(names.pop(0))
