"""Shared memory: made, read, removed; what is gone is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from drivers.dicom_memory import (
    SHARED_MEMORY_FOLDER,
    create_block,
    load_volume,
    memory_prefix,
    open_volume,
    remove_block,
    remove_blocks,
)
from guidance.errors import CaseError
from guidance.messages import CbctVolume


def volume_of(name: str, shape: tuple[int, int, int] | None = (2, 3, 4)) -> CbctVolume:
    return CbctVolume(id="v", series_instance_uid="1", shape_kji=shape, shared_memory=name)


def test_voxels_are_read_by_another_process_and_outlive_it(tmp_path: Path) -> None:
    name = f"{memory_prefix(tmp_path)}v_1"
    block = create_block(name, 48)
    try:
        np.ndarray((2, 3, 4), np.int16, buffer=block.buf)[:] = np.arange(24).reshape(2, 3, 4)
        block.close()
        program = (
            "from drivers.dicom_memory import load_volume; from guidance.messages import CbctVolume; "
            f"v = CbctVolume(id='v', series_instance_uid='1', shape_kji=(2, 3, 4), shared_memory='{name}'); "
            "print(load_volume(v).sum())"
        )
        child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert (child.stdout.strip(), child.stderr) == ("276", "")  # a tracker that complains would say so on stderr
        assert load_volume(volume_of(name)).sum() == 276
        with open_volume(volume_of(name)) as voxels, pytest.raises(ValueError, match="read-only"):
            voxels[0, 0, 0] = 1
    finally:
        remove_block(name)


def test_what_is_gone_is_named(tmp_path: Path) -> None:
    name = f"{memory_prefix(tmp_path)}v_2"
    create_block(name, 48).close()
    remove_block(name)
    remove_block(name)
    for volume in (volume_of(name), volume_of(""), volume_of(name, None)):
        with pytest.raises(CaseError) as caught:
            load_volume(volume)
        assert caught.value.code == "volume_gone"


@pytest.mark.skipif(not SHARED_MEMORY_FOLDER.is_dir(), reason="blocks can be listed on Linux only")
def test_left_blocks_of_this_folder_only_are_removed(tmp_path: Path) -> None:
    mine, other = memory_prefix(tmp_path / "a"), memory_prefix(tmp_path / "b")
    create_block(f"{mine}v_1", 48).close()
    create_block(f"{other}v_1", 48).close()
    assert remove_blocks(mine) == 1
    assert (SHARED_MEMORY_FOLDER / f"{other}v_1").exists()
    assert remove_blocks(other) == 1


@pytest.mark.skipif(not SHARED_MEMORY_FOLDER.is_dir(), reason="only there the size is checked beforehand")
def test_too_little_memory_is_an_error_and_no_crash(tmp_path: Path) -> None:
    name = f"{memory_prefix(tmp_path)}v_3"
    with pytest.raises(CaseError) as caught:
        create_block(name, 1 << 50)
    assert caught.value.code == "out_of_shared_memory"
    assert not (SHARED_MEMORY_FOLDER / name).exists()
