"""Zones' voxels on disk: to the bit, whole or not at all, and never what someone else wrote."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from drivers.zone_store import ZoneStore, mask_id_of
from guidance.errors import CaseError, ConfigError
from guidance.planning.occupancy import Occupancy

AFFINE = np.array([[0.1, 0.2, 0.0, -5.1], [0.0, 0.3, 0.3, 6.7], [0.0, 0.0, 1 / 3, 7.0], [0.0, 0.0, 0.0, 1.0]])


def occupancy() -> Occupancy:
    return Occupancy(np.arange(60, dtype=np.uint8).reshape(3, 4, 5), AFFINE)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    arrays.arrays(np.uint8, arrays.array_shapes(min_dims=3, max_dims=3, max_side=6)),
    arrays.arrays(np.float64, (4, 4), elements=st.floats(-1e3, 1e3)),
)
def test_what_is_saved_comes_back_to_the_bit(tmp_path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    store = ZoneStore(tmp_path)
    shape = store.save(Occupancy(values, affine))
    back = ZoneStore(tmp_path).load(shape.mask_id)
    assert back.values.dtype == np.uint8
    assert back.values.tobytes() == values.tobytes()
    assert back.values.shape == values.shape == shape.shape_kji
    assert back.affine_lps_from_ijk.tobytes() == affine.tobytes()
    assert shape.affine_lps_from_ijk == tuple(affine.ravel())


def test_the_shape_tells_grid_and_volume(tmp_path: Path) -> None:
    values = np.zeros((4, 5, 6), np.uint8)
    values[1:3, 1:3, 1:3] = 255
    values[3, 1, 1] = 51
    shape = ZoneStore(tmp_path).save(Occupancy(values, np.diag([2.0, 3.0, 5.0, 1.0])))
    assert shape.volume_ml == pytest.approx(8.2 * 30 / 1000)


def test_the_name_is_of_voxels_and_grid_not_of_the_packing(tmp_path: Path) -> None:
    base = occupancy()
    assert mask_id_of(base) == mask_id_of(Occupancy(np.asfortranarray(base.values), AFFINE.copy()))
    other = AFFINE.copy()
    other[0, 3] = np.nextafter(other[0, 3], 0)
    names = {
        mask_id_of(base),
        mask_id_of(Occupancy(base.values, other)),
        mask_id_of(Occupancy(base.values.reshape(4, 3, 5), AFFINE)),
        mask_id_of(Occupancy(base.values + np.uint8(1), AFFINE)),
    }
    assert len(names) == 4


def test_the_same_voxels_are_stored_once_and_nothing_else_is_left(tmp_path: Path) -> None:
    store = ZoneStore(tmp_path)
    shape = store.save(occupancy())
    path = tmp_path / "zones" / f"{shape.mask_id}.npz"
    before = path.stat().st_ino
    assert store.save(occupancy()) == shape
    assert path.stat().st_ino == before
    assert [one.name for one in (tmp_path / "zones").iterdir()] == [path.name]


def test_loaded_voxels_cannot_be_changed(tmp_path: Path) -> None:
    store = ZoneStore(tmp_path)
    back = store.load(store.save(occupancy()).mask_id)
    with pytest.raises(ValueError, match="read-only"):
        back.values[0, 0, 0] = 1


def one_voxel(path: Path) -> None:
    base = occupancy()
    np.savez_compressed(path, values=base.values ^ np.uint8(1), affine=base.affine_lps_from_ijk)


def moved(path: Path) -> None:
    np.savez_compressed(path, values=occupancy().values, affine=AFFINE + 1e-9)


def flipped_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def no_affine(path: Path) -> None:
    np.savez_compressed(path, values=occupancy().values)


def other_type(path: Path) -> None:
    np.savez_compressed(path, values=occupancy().values.astype(np.int16), affine=AFFINE)


def pickled(path: Path) -> None:
    np.savez_compressed(path, values=np.array([{}], dtype=object), affine=AFFINE, allow_pickle=True)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage", [one_voxel, moved, flipped_bit, cut, emptied, no_affine, other_type, pickled, a_folder]
)
def test_a_file_that_is_not_what_was_saved_is_refused_by_name(damage: Callable[[Path], None], tmp_path: Path) -> None:
    store = ZoneStore(tmp_path)
    shape = store.save(occupancy())
    path = tmp_path / "zones" / f"{shape.mask_id}.npz"
    damage(path)
    with pytest.raises(CaseError) as caught:
        store.load(shape.mask_id)
    assert caught.value.code == "damaged_mask"
    assert path.name in str(caught.value)
    assert caught.value.mend


def test_saving_again_mends_a_damaged_file(tmp_path: Path) -> None:
    store = ZoneStore(tmp_path)
    shape = store.save(occupancy())
    cut(tmp_path / "zones" / f"{shape.mask_id}.npz")
    store.save(occupancy())
    assert store.load(shape.mask_id).values.tobytes() == occupancy().values.tobytes()


@pytest.mark.parametrize("mask_id", ["0" * 64, "", "../case", "a" * 63, "A" * 64, "0" * 64 + "\n"])
def test_what_is_not_there_or_no_name_is_unknown(mask_id: str, tmp_path: Path) -> None:
    with pytest.raises(CaseError) as caught:
        ZoneStore(tmp_path).load(mask_id)
    assert caught.value.code == "unknown_mask"


def test_a_crash_while_writing_leaves_no_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ZoneStore(tmp_path)

    def full(_handle: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CaseError, match="No space") as caught:
        store.save(occupancy())
    assert caught.value.code == "unwritable_mask"
    assert list((tmp_path / "zones").iterdir()) == []


def test_a_data_folder_that_cannot_be_written_refuses_to_start(tmp_path: Path) -> None:
    (tmp_path / "zones").write_bytes(b"a file")
    with pytest.raises(ConfigError) as caught:
        ZoneStore(tmp_path)
    assert caught.value.code == "unwritable_data_dir"
