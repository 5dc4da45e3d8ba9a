"""The simulated modality: objects that read back as they were, and a real association, good and refused."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread
from pynetdicom import AE, evt

from guidance.errors import ConfigError, WireError
from guidance.wire.dicom_classes import CT_IMAGE, ENHANCED_CT, XRAY_3D_ANGIOGRAPHIC
from simulators.cbct import DicomPeer, cbct_volume, send_cbct, write_cbct
from simulators.cbct_objects import OBJECT_KINDS, CbctRun, cbct_objects
from simulators.volumes import HuVolume, load_dicom_folder, load_volume


@pytest.fixture
def small() -> HuVolume:
    rng = np.random.default_rng(0)
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn * (0.7, 0.9, 1.3)
    affine[:3, 3] = (-12.5, 40.25, -300.0)
    return HuVolume(rng.integers(-1000, 3000, (9, 12, 10)).astype(np.int16), affine, "noise")


@pytest.fixture
def receiver():
    """A storage peer that keeps what it gets; `answer` is its status."""
    kept, answers = [], []

    def store(event):
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        kept.append(dataset)
        return answers.pop(0) if answers else 0x0000

    entity = AE(ae_title="GUIDANCE")
    entity.require_called_aet = True
    for sop_class in (CT_IMAGE, ENHANCED_CT, XRAY_3D_ANGIOGRAPHIC):
        entity.add_supported_context(sop_class)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    yield server.server_address[1], kept, answers
    server.shutdown()


@pytest.mark.parametrize("kind", OBJECT_KINDS)
def test_a_written_run_reads_back_voxel_for_voxel(small, tmp_path, kind):
    run = CbctRun(kind=kind, patient_position="HFP", isocenter_lps_mm=(1.0, 2.0, 3.0), table_mm=(0.0, 0.0, 0.0))
    assert write_cbct(small, run, tmp_path / "run") == (9 if kind == "ct" else 1)
    (tmp_path / "run" / "notes.txt").write_text("not a DICOM file")
    again = load_dicom_folder(tmp_path / "run")
    assert np.array_equal(again.voxels_hu, small.voxels_hu)
    assert again.affine_lps_from_ijk == pytest.approx(small.affine_lps_from_ijk, abs=1e-6)
    first = dcmread(next((tmp_path / "run").glob("*.dcm")))
    assert first.PatientPosition == "HFP"
    assert first.FrameOfReferenceUID == run.frame_of_reference_uid
    assert "SIMULATED" in first.SeriesDescription


def test_a_seed_decides_every_uid(small):
    def uids(seed):
        return [dataset.SOPInstanceUID for dataset in cbct_objects(small, CbctRun(seed=seed))]

    assert uids(1) == uids(1)
    assert not set(uids(1)) & set(uids(2))
    assert len(set(uids(1))) == 9
    assert all(uid.is_valid for uid in uids(1))


@pytest.mark.parametrize("kind", OBJECT_KINDS)
def test_it_goes_through_a_real_association(small, receiver, kind):
    port, kept, _ = receiver
    told = []
    count = send_cbct(small, CbctRun(kind=kind), DicomPeer(port=port), lambda *of: told.append(of))
    assert len(kept) == count
    assert told[-1] == ("sending", count, count)
    assert kept[0].pixel_array.reshape(-1, 12, 10)[0].tolist() == (small.voxels_hu[0] + 1024).tolist()


def test_refusals_are_named(small, receiver):
    port, _, answers = receiver
    with pytest.raises(WireError, match="STRANGER") as refused:
        send_cbct(small, CbctRun(), DicomPeer(port=port, called_ae_title="STRANGER"))
    assert refused.value.code == "association_refused"
    answers += [0x0000, 0xA700]
    with pytest.raises(WireError, match="A700") as full:
        send_cbct(small, CbctRun(), DicomPeer(port=port))
    assert full.value.code == "not_stored"


# pynetdicom 3.0.4 drops the socket of a refused connection without closing it (transport.py, connect).
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_nobody_there(small, unused_tcp_port):
    with pytest.raises(WireError, match=str(unused_tcp_port)):
        send_cbct(small, CbctRun(), DicomPeer(port=unused_tcp_port))


def test_a_cbct_is_a_cut_out_of_the_patient(water_block):
    made = cbct_volume(water_block, spacing_mm=2.0, center_lps_mm=np.array([10.0, 0.0, 0.0]), field_mm=(60, 50, 40))
    assert made.voxels_hu.shape == (20, 25, 30)
    assert made.center_lps_mm == pytest.approx((10.0, 0.0, 0.0))
    assert "resampled to 2 mm" in made.description
    # The bone's middle: voxel 16.5, 9.5, 14.5 (i, j, k) of the block.
    place = np.array([16.5, 9.5, 14.5]) * 4.0 - 58.0
    i, j, k = np.rint((place - made.affine_lps_from_ijk[:3, 3]) / 2.0).astype(int)
    assert made.voxels_hu[k, j, i] == 1200


def test_volumes_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ConfigError, match="no volume"):
        load_volume(tmp_path)
    with pytest.raises(ConfigError, match="there is no"):
        load_volume(tmp_path / "missing.nii")
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no NIfTI")
    with pytest.raises(ConfigError, match=r"broken\.nii\.gz"):
        load_volume(broken)
