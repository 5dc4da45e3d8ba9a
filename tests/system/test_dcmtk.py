"""DICOM reception with dcmtk's programs as the modality: what real peers do on the wire."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pynetdicom import AE

from drivers.dicom_memory import load_volume
from guidance.messages import VolumeState
from tests.helpers.dicom_objects import ct_series, multi_frame, phantom, save
from tests.helpers.reception import run_peer, send, store, watched

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not on this machine")


async def test_echo(tmp_path: Path) -> None:
    async with watched(tmp_path) as running:
        code, words = await run_peer("echoscu", "-aec", "GUIDANCE", "127.0.0.1", str(running.reception.port))
        assert (code, words) == (0, "")


@pytest.mark.parametrize("proposed", ["-x=", "-xe", "-xb", "-xi"], ids=["any", "little", "big", "implicit"])
async def test_uncompressed(tmp_path: Path, proposed: str) -> None:
    volume = phantom()
    save(ct_series(volume, ImagesInAcquisition=6), tmp_path / "in")
    async with watched(tmp_path / "data") as running:
        code, words = await store(running.reception.port, tmp_path / "in", options=(proposed,))
        assert (code, words) == (0, "")
        np.testing.assert_array_equal(load_volume(await running.volume()), volume)


@pytest.mark.parametrize(
    ("program", "options", "proposed", "syntax", "worst"),
    [
        pytest.param("dcmcrle", (), "-xr", "1.2.840.10008.1.2.5", 0, id="rle"),
        pytest.param("dcmcjpls", ("+el",), "-xt", "1.2.840.10008.1.2.4.80", 0, id="jpeg-ls-lossless"),
        pytest.param("dcmcjpls", ("+en", "+md", "2"), "-xu", "1.2.840.10008.1.2.4.81", 2, id="jpeg-ls-near-lossless"),
        pytest.param("dcmcjpeg", ("+e1",), "-xs", "1.2.840.10008.1.2.4.70", 0, id="jpeg-lossless-sv1"),
        pytest.param("dcmcjpeg", ("+el",), None, "1.2.840.10008.1.2.4.57", 0, id="jpeg-lossless"),
    ],
)
async def test_compressed_by_dcmtk(
    tmp_path: Path, program: str, options: tuple[str, ...], proposed: str | None, syntax: str, worst: int
) -> None:
    volume = phantom(rows=40, columns=48)
    (tmp_path / "in").mkdir()
    for path in save(ct_series(volume, ImagesInAcquisition=6), tmp_path / "plain"):
        code, words = await run_peer(program, *options, path, tmp_path / "in" / path.name)
        assert code == 0, words
    datasets = [pydicom.dcmread(path) for path in (tmp_path / "in").iterdir()]
    assert {str(dataset.file_meta.TransferSyntaxUID) for dataset in datasets} == {syntax}
    async with watched(tmp_path / "data") as running:
        if proposed is None:  # storescu cannot propose it
            assert await send(running, datasets) == [0] * 6
        else:
            code, words = await store(running.reception.port, tmp_path / "in", options=("-R", proposed))
            assert (code, words) == (0, "")
        received = load_volume(await running.volume())
        assert np.abs(received.astype(int) - volume).max() <= worst
        stored = pydicom.dcmread(next((tmp_path / "data" / "dicom" / "instances").glob("*.dcm")))
        assert str(stored.file_meta.TransferSyntaxUID) == syntax


async def test_a_file_that_ends_the_decoder_is_refused_in_the_end_and_the_rest_goes_on(tmp_path: Path) -> None:
    """GDCM 3.2.6 aborts the process on this JFIF version; one that does not refuses the pixels, which is as good."""
    (path,) = save(ct_series(phantom(1, 40, 48), ImagesInAcquisition=1, series_uid="1.6.6.6"), tmp_path)
    code, words = await run_peer("dcmcjpeg", "+e1", path, tmp_path / "compressed.dcm")
    assert code == 0, words
    whole = (tmp_path / "compressed.dcm").read_bytes()
    damaged = tmp_path / "damaged.dcm"
    damaged.write_bytes(whole.replace(b"JFIF\x00\x01", b"JFIF\x00\x42"))
    volume = phantom()
    paths = save(ct_series(volume, ImagesInAcquisition=6), tmp_path / "good")
    async with watched(tmp_path / "data") as running:
        await store(running.reception.port, damaged, options=("-R", "-xs"))  # the end may come before the answer
        refused = await running.volume()
        assert "unreadable_pixels" in [finding.code for finding in refused.findings]
        assert running.counts["dicom_process_restarted"] <= 2
        assert await store(running.reception.port, *paths) == (0, "")
        np.testing.assert_array_equal(load_volume(await running.volume(1)), volume)


async def test_jpeg_2000(tmp_path: Path) -> None:
    volume = phantom(rows=40, columns=48)
    datasets = ct_series(volume, ImagesInAcquisition=6)
    for dataset in datasets:
        dataset.compress("1.2.840.10008.1.2.4.90", generate_instance_uid=False)
    save(datasets, tmp_path / "in")
    async with watched(tmp_path / "data") as running:
        code, words = await store(running.reception.port, tmp_path / "in", options=("-xv",))
        assert (code, words) == (0, "")
        np.testing.assert_array_equal(load_volume(await running.volume()), volume)


async def test_three_senders_at_once(tmp_path: Path) -> None:
    volume = phantom(30)
    paths = save(ct_series(volume, ImagesInAcquisition=30), tmp_path / "in")
    async with watched(tmp_path / "data") as running:
        answers = await asyncio.gather(*(store(running.reception.port, *paths[part::3]) for part in range(3)))
        assert answers == [(0, "")] * 3
        np.testing.assert_array_equal(load_volume(await running.volume()), volume)


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    paths = save(ct_series(phantom(120, 64, 64)), tmp_path / "in")
    async with watched(tmp_path / "data") as running:
        sender = asyncio.create_task(store(running.reception.port, *paths, options=("-v",)))
        await running.until(lambda: running.counts["stored"] >= 10)
        assert running.reception.process_id is not None
        os.kill(running.reception.process_id, signal.SIGKILL)
        code, words = await sender
        assert code != 0
        acknowledged = words.count("Received Store Response (Success)")
        assert acknowledged > 0
        stored = [pydicom.dcmread(path) for path in (tmp_path / "data" / "dicom" / "instances").glob("*.dcm")]
        assert len(stored) >= acknowledged
        sent = {str(d.SOPInstanceUID): d.PixelData for d in map(pydicom.dcmread, paths)}
        assert all(sent[str(dataset.SOPInstanceUID)] == dataset.PixelData for dataset in stored)


@pytest.mark.parametrize(
    ("settings", "called", "reason", "counted"),
    [
        pytest.param({"allowed_calling_ae_titles": ("CARM2",)}, "GUIDANCE", "Calling AE Title Not Recognized",
                     "calling_ae_title_refused", id="calling"),
        pytest.param({"check_called_ae_title": True}, "ELSEWHERE", "Called AE Title Not Recognized",
                     "called_ae_title_refused", id="called"),
        pytest.param({"disk_watermark_mib": 1 << 40}, "GUIDANCE", "Local Limit Exceeded", "disk_watermark", id="disk"),
    ],
)  # fmt: skip
async def test_refused_associations_say_why(
    tmp_path: Path, settings: dict[str, object], called: str, reason: str, counted: str
) -> None:
    paths = save(ct_series()[:1], tmp_path / "in")
    async with watched(tmp_path / "data", **settings) as running:
        code, words = await store(running.reception.port, *paths, aec=called)
        assert code != 0
        assert reason in words
        await running.until(lambda: running.counts[counted] == 1)
        assert running.counts["stored"] == 0


@pytest.mark.parametrize("settings", [{"allowed_calling_ae_titles": ("CARM1",)}, {"check_called_ae_title": True}])
async def test_right_titles_are_accepted(tmp_path: Path, settings: dict[str, object]) -> None:
    paths = save(ct_series()[:1], tmp_path / "in")
    async with watched(tmp_path / "data", **settings) as running:
        assert await store(running.reception.port, *paths) == (0, "")


async def test_more_associations_than_allowed(tmp_path: Path) -> None:
    async with watched(tmp_path, maximum_associations=1) as running:
        entity = AE()
        entity.add_requested_context("1.2.840.10008.1.1")
        first = await asyncio.to_thread(entity.associate, "127.0.0.1", running.reception.port)
        assert first.is_established
        code, words = await run_peer("echoscu", "127.0.0.1", str(running.reception.port))
        assert code != 0
        assert "Local Limit Exceeded" in words
        await running.until(lambda: running.counts["too_many_associations"] == 1)
        await asyncio.to_thread(first.release)


async def test_tls_with_client_certificates(tmp_path: Path) -> None:
    for name in ("ca", "server", "client", "stranger"):
        await _certificate(tmp_path, name)
    paths = save(ct_series(ImagesInAcquisition=6), tmp_path / "in")
    pem = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "server", "client", "stranger")}
    keys = {name: str(tmp_path / f"{name}.key") for name in pem}
    settings = {"tls_certificate": pem["server"], "tls_key": keys["server"], "tls_ca": pem["ca"]}
    async with watched(tmp_path / "data", **settings) as running:
        port = running.reception.port
        mutual = ("+tls", keys["client"], pem["client"], "+cf", pem["ca"])
        assert await store(port, *paths, options=mutual) == (0, "")
        assert (await running.volume()).state is VolumeState.READY
        assert (await store(port, *paths))[0] != 0
        assert (await store(port, *paths, options=("+tla", "-ic")))[0] != 0
        unknown = ("+tls", keys["stranger"], pem["stranger"], "+cf", pem["ca"])
        assert (await store(port, *paths, options=unknown))[0] != 0
        await running.until(lambda: running.counts["connection_without_association"] >= 3)
        assert running.counts["stored"] == 6


async def _certificate(folder: Path, name: str) -> None:
    """A key and a certificate: `ca` and `stranger` sign themselves, the others are signed by `ca`."""
    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}")
    signed = ("-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key") if name in ("server", "client") else ()
    files = ("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem")
    code, words = await run_peer("openssl", *new, *signed, *files)
    assert code == 0, words


async def test_a_folder_of_two_series_and_a_multi_frame_object(tmp_path: Path) -> None:
    first, second, third = phantom(seed=1), phantom(seed=2), phantom(seed=3)
    save([*ct_series(first), *ct_series(second, origin=(0, 0, 0)), multi_frame(third)], tmp_path / "in")
    async with watched(tmp_path / "data") as running:
        assert await store(running.reception.port, tmp_path / "in", options=("-R",)) == (0, "")
        await running.volume(2)
        volumes = [load_volume(volume) for volume in running.concluded]
        for expected in (first, second, third):
            assert any(np.array_equal(expected, volume) for volume in volumes)


@needs_shared
async def test_real_tilted_ct(tmp_path: Path) -> None:
    paths = sorted((SHARED / "tilted_ct").glob("*.dcm"))
    async with watched(tmp_path) as running:
        assert await store(running.reception.port, *reversed(paths)) == (0, "")
        volume = await running.volume()
        assert volume.state is VolumeState.READY
        assert "gantry_tilt" in [finding.code for finding in volume.findings]
        assert volume.shape_kji == (12, 512, 512)
        affine = np.reshape(volume.affine_lps_from_ijk, (4, 4))
        np.testing.assert_allclose(affine[:3, 2], (0, 0, 2.5), atol=1e-5)
        voxels = load_volume(volume)
        assert voxels.min() >= -1500
        datasets = sorted(map(pydicom.dcmread, paths), key=lambda d: d.ImagePositionPatient[2])
        for k, dataset in enumerate(datasets):
            np.testing.assert_allclose(affine[:3] @ (0, 0, k, 1), dataset.ImagePositionPatient, atol=1e-3)
            np.testing.assert_array_equal(voxels[k], dataset.pixel_array.astype(int) - 1024)


@needs_shared
async def test_real_feet_first_ct_with_segmentations(tmp_path: Path) -> None:
    async with watched(tmp_path) as running:
        paths = sorted((SHARED / "ct_with_seg").glob("*.dcm"))
        code, words = await store(running.reception.port, *paths, options=("-R",))
        assert (code, words) == (0, "")
        volume = await running.volume()
        assert (volume.state, volume.patient_position, volume.shape_kji) == (VolumeState.READY, "FFS", (3, 512, 512))
        assert volume.affine_lps_from_ijk is not None
        assert volume.affine_lps_from_ijk[10] == pytest.approx(1.0, abs=1e-3)  # the step, not the thickness of 1.25
        assert load_volume(volume).min() >= -1100  # padding of -3024 HU has become air
        assert running.counts["stored"] == 5


@needs_shared
async def test_real_perfusion_map_is_refused(tmp_path: Path) -> None:
    async with watched(tmp_path) as running:
        await store(running.reception.port, SHARED / "enhanced_ct" / "eCT_Supplemental.dcm")
        assert [finding.code for finding in (await running.volume()).findings] == ["not_calibrated"]


def test_the_peers_are_installed() -> None:
    missing = [
        name for name in ("storescu", "echoscu", "dcmcrle", "dcmcjpls", "dcmcjpeg") if shutil.which(name) is None
    ]
    assert not missing, f"{', '.join(missing)} missing; `make system` installs the tests' peers"
