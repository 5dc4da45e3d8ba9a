"""DICOM reception end to end, with pynetdicom as the peer: what is told, stored, refused, survived."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from drivers.dicom_memory import SHARED_MEMORY_FOLDER, load_volume, memory_prefix
from drivers.dicom_storage import DicomReception
from guidance.config import DicomSettings
from guidance.errors import ConfigError
from guidance.messages import VolumeState
from guidance.wire.dicom_classes import SEGMENTATION, STORAGE_CLASSES, VERIFICATION
from tests.helpers.dicom_objects import ct_series, multi_frame, phantom
from tests.helpers.reception import PATIENCE_S, send, send_now, watched

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


async def test_a_series_becomes_a_volume_with_progress_before(tmp_path: Path) -> None:
    volume = phantom()
    async with watched(tmp_path) as running:
        assert await send(running, ct_series(volume, ImagesInAcquisition=6)) == [0] * 6
        ready = await running.volume()
        np.testing.assert_array_equal(load_volume(ready), volume)
        assert running.volumes[0].state is VolumeState.RECEIVING
        assert running.volumes[0].id == ready.id
        assert (ready.state, ready.patient_id, ready.instance_count) == (VolumeState.READY, "P1", 6)
        assert running.counts["stored"] == 6
        assert running.counts["volume_ready"] == 1


async def test_a_segmentation_is_announced_when_it_comes_and_after_a_restart(tmp_path: Path) -> None:
    (segmentation,) = ct_series(phantom()[:1])
    segmentation.SOPClassUID = SEGMENTATION
    async with watched(tmp_path) as running:
        assert await send(running, [segmentation]) == [0]
        (zones,) = await running.until(lambda: running.zones)
        assert (zones.name, zones.patient_id) == (segmentation.SOPInstanceUID, "P1")
        assert zones.path.startswith(str(tmp_path))
    async with watched(tmp_path) as running:
        assert await running.until(lambda: running.zones) == [zones]


async def test_any_split_over_parallel_associations_gives_the_same_volume(tmp_path: Path) -> None:
    volume = phantom(12)
    datasets = ct_series(volume, ImagesInAcquisition=12)
    async with watched(tmp_path) as running:
        await asyncio.gather(*(send(running, datasets[part::3]) for part in range(3)))
        np.testing.assert_array_equal(load_volume(await running.volume()), volume)


async def test_a_multi_frame_object_is_ready_at_once(tmp_path: Path) -> None:
    volume = phantom()
    async with watched(tmp_path, series_quiet_s=600.0) as running:
        await send(running, [multi_frame(volume, frame_order=[4, 2, 0, 1, 5, 3])])
        np.testing.assert_array_equal(load_volume(await running.volume()), volume)


async def test_without_a_count_the_quiet_period_completes_and_late_ones_reopen(tmp_path: Path) -> None:
    volume = phantom()
    datasets = ct_series(volume)
    async with watched(tmp_path) as running:
        await send(running, datasets[:2] + datasets[3:])
        refused = await running.volume()
        assert [finding.code for finding in refused.findings] == ["missing_slices"]
        assert running.counts["missing_slices"] == 1
        await send(running, [datasets[2]])
        ready = await running.volume(1)
        assert (ready.state, ready.id) == (VolumeState.READY, refused.id)
        np.testing.assert_array_equal(load_volume(ready), volume)


async def test_a_reopened_volume_keeps_its_voxels_until_the_new_ones_are_there(tmp_path: Path) -> None:
    volume = phantom(7)
    datasets = ct_series(volume)
    async with watched(tmp_path) as running:
        await send(running, datasets[:6])
        before = await running.volume()
        await send(running, datasets[6:])
        again = await running.until(lambda: [one for one in running.volumes if one.instance_count == 7])
        assert (again[0].state, again[0].shared_memory) == (VolumeState.RECEIVING, before.shared_memory)
        after = await running.volume(1)
        np.testing.assert_array_equal(load_volume(after), volume)
        np.testing.assert_array_equal(load_volume(before), volume[:6])


async def test_the_same_instance_again_changes_nothing_another_content_is_kept_beside_it(tmp_path: Path) -> None:
    datasets = ct_series()
    async with watched(tmp_path) as running:
        await send(running, datasets)
        await running.volume()
        await send(running, datasets[:1])
        await running.until(lambda: running.counts["duplicate_instance"] == 1)
        changed = ct_series(phantom(seed=2))[0]
        changed.SeriesInstanceUID = datasets[0].SeriesInstanceUID
        assert await send(running, [changed], uids=[str(datasets[0].SOPInstanceUID)]) == [0]
        refused = await running.volume(1)
        assert [finding.code for finding in refused.findings] == ["conflicting_slices"]
        assert running.counts["conflicting_instance"] == 1
    assert len(list((tmp_path / "dicom" / "instances").glob("*.dcm"))) == 7


async def test_a_restart_finds_everything_again(tmp_path: Path) -> None:
    volume = phantom()
    async with watched(tmp_path) as running:
        await send(running, ct_series(volume))
        first = await running.volume()
    async with watched(tmp_path, series_quiet_s=600.0) as running:
        again = await running.volume()
        assert (again.id, again.state) == (first.id, VolumeState.READY)
        np.testing.assert_array_equal(load_volume(again), volume)


async def test_a_killed_process_comes_back_on_the_same_port_with_what_was_acknowledged(tmp_path: Path) -> None:
    volume = phantom()
    datasets = ct_series(volume)
    async with watched(tmp_path) as running:
        port = running.reception.port
        assert await send(running, datasets[:5]) == [0] * 5
        assert running.reception.process_id is not None
        os.kill(running.reception.process_id, signal.SIGKILL)
        await running.until(lambda: running.counts["dicom_process_restarted"] == 1)
        await running.until(lambda: running.reception.process_id is not None and running.concluded)
        assert running.reception.port == port
        await send(running, datasets[5:])
        ready = await running.until(lambda: [v for v in running.concluded if v.instance_count == 6])
        np.testing.assert_array_equal(load_volume(ready[0]), volume)


async def test_stop_leaves_no_process_and_no_memory(tmp_path: Path) -> None:
    async with watched(tmp_path) as running:
        await send(running, ct_series())
        await running.volume()
        process_id = running.reception.process_id
        assert process_id is not None
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)
    if SHARED_MEMORY_FOLDER.is_dir():
        assert not list(SHARED_MEMORY_FOLDER.glob(f"{memory_prefix(tmp_path)}*"))
    await running.reception.stop()


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("uid", ["../../../outside", "not.a.uid", "1..2"])
async def test_odd_uids_are_stored_inside(tmp_path: Path, uid: str) -> None:
    async with watched(tmp_path / "data") as running:
        await asyncio.to_thread(_store_with_raw_uid, running.reception.port, ct_series()[0], uid)
        await running.until(lambda: running.counts["stored"] == 1)
    assert os.listdir(tmp_path) == ["data"]
    assert [name.startswith("uid-") for name in os.listdir(tmp_path / "data" / "dicom" / "instances")] == [True]


def _store_with_raw_uid(port: int, dataset: Dataset, uid: str) -> None:
    from pynetdicom import _config

    validator = _config.VALIDATORS["UI"]
    _config.VALIDATORS["UI"] = lambda _value: (True, "")
    try:
        send_now(port, [dataset], uids=[uid])
    finally:
        _config.VALIDATORS["UI"] = validator


GARBAGE = [
    pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="http"),
    pytest.param(b"\x01\x00\xff\xff\xff\xff" + bytes(64), id="4-GiB-association-request"),
    pytest.param(b"\x01\x00\x00\x00\x00\x10" + bytes(16), id="short-association-request"),
    pytest.param(b"\x04\x00\x00\x00\x00\x08" + bytes(8), id="data-before-association"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), id="tls-hello-on-a-plain-port"),
    pytest.param(b"", id="connect-and-hang-up"),
    pytest.param(b"\x01\x00", id="hang-up-inside-a-header"),
]


@pytest.mark.parametrize("data", GARBAGE)
async def test_garbage_on_the_port_is_survived(tmp_path: Path, data: bytes) -> None:
    async with watched(tmp_path) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.reception.port)
        writer.write(data)
        if not data or len(data) == 2:
            writer.write_eof()
        async with asyncio.timeout(20):
            await reader.read()  # until the server hangs up
        writer.close()
        await running.until(lambda: running.counts["connection_without_association"] == 1)
        assert await send(running, ct_series(ImagesInAcquisition=6)) == [0] * 6
        assert (await running.volume()).state is VolumeState.READY


async def test_an_association_cut_inside_an_instance_leaves_nothing_behind(tmp_path: Path) -> None:
    async with watched(tmp_path) as running:
        await asyncio.to_thread(_cut_inside, running.reception.port)
        await running.until(lambda: running.counts["incomplete_instance"] == 1)
        assert list((tmp_path / "dicom" / "incoming").iterdir()) == []
        assert running.counts["stored"] == 0


def _cut_inside(port: int) -> None:
    """A C-STORE whose socket is reset after the first half of the data set's PDUs."""
    dataset = ct_series(phantom(1, 512, 512))[0]
    entity = AE(ae_title="CARM1")
    entity.maximum_pdu_size = 4096
    entity.dimse_timeout = 0.5  # no answer will come
    entity.add_requested_context(str(dataset.SOPClassUID), str(dataset.file_meta.TransferSyntaxUID))
    association = entity.associate("127.0.0.1", port, ae_title="GUIDANCE")
    wrapped = association.dul.socket
    whole = wrapped.send
    sent = 0

    def send(data: bytes) -> None:
        nonlocal sent
        sent += len(data)
        if sent > 200_000:
            wrapped.socket.close()
            raise OSError("cut by the test")
        whole(data)

    wrapped.send = send
    association.send_c_store(dataset)


async def test_an_instance_that_does_not_parse_is_stored_and_counted(tmp_path: Path) -> None:
    broken = ct_series()[0]
    del broken.SeriesInstanceUID
    async with watched(tmp_path) as running:
        assert await send(running, [broken]) == [0]
        await running.until(lambda: running.counts["unreadable_instance"] == 1)
        assert any("cannot be used" in line for line in running.log)
        await send(running, ct_series())
        assert (await running.volume()).state is VolumeState.READY
    assert len(list((tmp_path / "dicom" / "instances").glob("*.dcm"))) == 7


async def test_below_the_watermark_associations_are_refused_out_of_resources(tmp_path: Path) -> None:
    async with watched(tmp_path, disk_watermark_mib=1 << 40) as running:
        entity = AE()
        entity.add_requested_context(VERIFICATION)
        association = await asyncio.to_thread(entity.associate, "127.0.0.1", running.reception.port)
        response = association.acceptor.primitive
        assert association.is_rejected
        # PS3.8 table 9-21: rejected-transient, service-provider (presentation), local-limit-exceeded
        assert (response.result, response.result_source, response.diagnostic) == (2, 3, 2)
        await running.until(lambda: running.counts["disk_watermark"] == 1)


async def test_every_storage_class_is_accepted(tmp_path: Path) -> None:
    async with watched(tmp_path) as running:
        entity = AE()
        for sop_class in (VERIFICATION, *STORAGE_CLASSES):
            entity.add_requested_context(sop_class)
        association = await asyncio.to_thread(entity.associate, "127.0.0.1", running.reception.port)
        assert len(association.accepted_contexts) == 1 + len(STORAGE_CLASSES)
        await asyncio.to_thread(association.release)


async def refusal(settings: DicomSettings, data_dir: Path) -> ConfigError:
    reception = DicomReception(
        settings, data_dir, on_volume=lambda _: None, on_count=lambda *_: None, on_log=lambda *_: None
    )
    with pytest.raises(ConfigError) as caught:
        await reception.start()
    await reception.stop()
    return caught.value


async def test_a_taken_port_is_named_with_the_mend(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        error = await refusal(DicomSettings(port=other.getsockname()[1]), tmp_path)
    assert (error.code, "dicom.port" in error.mend) == ("port_taken", True)


async def test_an_unreadable_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    settings = DicomSettings(port=0, tls_certificate=str(tmp_path / "bad.pem"), tls_key=str(tmp_path / "none.pem"))
    assert (await refusal(settings, tmp_path)).code == "bad_certificate"


async def test_an_unknown_host_is_named(tmp_path: Path) -> None:
    assert (await refusal(DicomSettings(host="256.1.1.1", port=0), tmp_path)).code == "bad_host"


async def test_a_folder_in_use_is_named(tmp_path: Path) -> None:
    async with watched(tmp_path):
        assert (await refusal(DicomSettings(port=0), tmp_path)).code == "data_dir_in_use"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waiting for another's child needs Linux")
async def test_a_killed_server_leaves_no_dicom_process_behind(tmp_path: Path) -> None:
    program = """
import asyncio, pathlib, sys
from drivers.dicom_storage import DicomReception
from guidance.config import DicomSettings

async def main():
    reception = DicomReception(DicomSettings(port=0), pathlib.Path(sys.argv[1]), on_volume=lambda _: None,
                               on_count=lambda *_: None, on_log=lambda *_: None)
    await reception.start()
    print(reception.process_id, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    dicom_process = os.pidfd_open(int(await server.stdout.readline()))
    server.kill()
    await server.wait()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(dicom_process, ended.set)
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    asyncio.get_running_loop().remove_reader(dicom_process)
    os.close(dicom_process)
