"""`guidance simulate`: words to scripts, and the devices as they are run from the command line."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

import aiomqtt
import numpy as np
import pytest

from drivers.commands import simulate, simulate_arguments
from drivers.commands.simulate_injector import injector_of
from guidance.errors import ConfigError
from guidance.wire.openigtlink import Decoder, Image
from simulators.faults import Fault
from simulators.volumes import HuVolume, load_dicom_folder
from tests.helpers.broker import Mosquitto

VOLUME = HuVolume(np.zeros((4, 4, 4), np.int16), np.eye(4), "nothing")
PATHS = [{"label": "one", "entry_lps_mm": [50, 0, 0], "target_lps_mm": [-50, 10, 0], "diameter_mm": 3.0}]
PATIENCE_S = 60.0


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    simulate.register(parser.add_subparsers())
    return parser.parse_args(["simulate", *words])


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    import nibabel

    voxels = np.full((24, 24, 24), -1000, np.int16)
    voxels[2:22, 2:22, 2:22] = 40
    path = tmp_path / "block.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-5.0, -5.0, 5.0, 1.0])), path)
    return path


def test_words_become_a_script(tmp_path):
    (tmp_path / "faults.toml").write_text('[[fault]]\nkind = "stale"\nframe = 9\n')
    arguments = parsed(
        *("carm", "--poses", "180,0;-150,20", "--between", "2", "--dwell", "5", "--zoom", "2", "--size", "640", "480"),
        *("--geometry", "matrix", "--pixel-type", "uint8", "--faults", str(tmp_path / "faults.toml"), "--fov-flip"),
        *(
            "--table-mm=-5,0,12",
            "--isocenter-lps-mm",
            "1,2,3",
            "--frame-of-reference",
            "1.2.3",
            "--header-version",
            "1",
        ),
    )
    script = simulate_arguments.carm_script(arguments, PATHS)
    assert [stop.frames for stop in script.stops] == [5, 3, 3, 5, 3, 3]
    first = script.stops[0].gantry
    assert (first.size, first.pitch_row_mm, first.table_mm) == ((480, 640), 0.15, (-5.0, 0.0, 12.0))
    assert (first.isocenter_lps_mm, first.fov_flip, first.patient_position) == ((1.0, 2.0, 3.0), True, "HFP")
    assert (script.telling.geometry, script.telling.frame_of_reference_uid) == ("matrix", "1.2.3")
    assert script.faults == {9: Fault.STALE}
    assert {stop.pixel_type for stop in script.stops} == {"uint8"}


def test_without_poses_the_paths_views_are_gone_round():
    script = simulate_arguments.carm_script(parsed("carm", "--pedal", "10", "4"), PATHS)
    still = [stop for stop in script.stops if stop.pedal]
    assert [stop.frames for stop in script.stops[:2]] == [10, 4]
    assert len(still) == 2 * 9
    assert script.stops[0].gantry.isocenter_lps_mm == pytest.approx((0.0, 5.0, 0.0))


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["carm", "--poses", "1,2,3"], "poses"),
        (["carm", "--paths", "/nonexistent.json"], "paths"),
        (["carm", "--faults", "{bad}"], "fault"),
    ],
)
def test_wrong_words_are_named(tmp_path, words, error):
    (tmp_path / "bad").write_text("[[fault")
    arguments = parsed(*(word.replace("{bad}", str(tmp_path / "bad")) for word in words))
    with pytest.raises(ConfigError, match=error):
        simulate_arguments.carm_script(arguments, simulate_arguments.chosen_paths(arguments, VOLUME, "other"))


def test_paths_from_a_file(tmp_path):
    (tmp_path / "paths.json").write_text(json.dumps(PATHS))
    arguments = parsed("carm", "--paths", str(tmp_path / "paths.json"))
    assert simulate_arguments.chosen_paths(arguments, VOLUME, "other")[0]["entry_lps_mm"] == [50.0, 0.0, 0.0]


def test_cbct_writes_a_folder(nifti, tmp_path, capsys):
    arguments = parsed("cbct", "--volume", str(nifti), "--spacing-mm", "6", "--folder", str(tmp_path / "out"), "--json")
    assert arguments.run(arguments) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    report = lines[-1]
    assert report["event"] == "report"
    assert report["objects"] == len(list((tmp_path / "out").glob("*.dcm")))
    assert [line["done"] for line in lines if line["event"] == "progress"][-1] == report["objects"]
    assert load_dicom_folder(tmp_path / "out").voxels_hu.max() == 40


async def test_carm_as_a_process(nifti):
    words = ["simulate", "carm", "--volume", str(nifti), "--poses", "180,0", "--size", "64", "48", "--json"]
    words += ["--pixel-spacing-mm", "2.5", "--listen", "127.0.0.1:0", "--rate-hz", "100", "--frames", "20"]
    async with asyncio.timeout(PATIENCE_S):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "drivers.cli", *words), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        while "listening" not in (said := json.loads(await process.stdout.readline())).get("text", ""):
            assert said["event"] in ("note", "progress")
        port = int(said["text"].rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        images = await _images(reader)
        writer.close()
        rest = (await process.stdout.read()).decode().splitlines()
        assert await process.wait() == 0
    assert len(images) == 20
    assert images[0].pixels.shape == (48, 64)
    assert images[0].metadata["XRay.PatientPosition"] == "HFP"
    assert json.loads(rest[-1])["frames"] == 20


async def _images(reader: asyncio.StreamReader) -> list[Image]:
    decoder, images = Decoder(), []
    while data := await reader.read(65536):
        view = memoryview(data)
        while len(view):
            room = decoder.next_buffer()
            taken = min(len(room), len(view))
            room[:taken] = view[:taken]
            decoder.advance(taken)
            view = view[taken:]
            while (event := decoder.next_event()) is not None:
                assert isinstance(event, Image)
                images.append(event)
    return images


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["--fault", "tired@1-2"], "bad_fault", id="fault"),
        pytest.param(["--flow-ml-s", "0"], "bad_injection", id="flow"),
        pytest.param(["--volume-ml", "nan"], "bad_injection", id="volume"),
        pytest.param(["--delay-s=-1"], "bad_injection", id="delay"),
    ],
)
def test_an_injector_that_cannot_be_is_refused(words, code):
    arguments = parsed("injector", *words)
    with pytest.raises(ConfigError) as caught:
        arguments.run(arguments)
    assert caught.value.code == code


def test_an_injectors_words_become_its_curve():
    words = ("--flow-ml-s", "0.2", "--volume-ml", "3", "--delay-s", "5", "--fault", "silent@1-2")
    injector = injector_of(parsed("injector", *words))
    assert (injector.curve.times_s, injector.curve.volumes_ml) == ((0.0, 5.0, 20.0), (0.0, 0.0, 3.0))
    assert injector.reading(1.5) is None


async def test_an_injector_as_a_process(tmp_path):
    broker = Mosquitto(tmp_path)
    await broker.start()
    try:
        words = ["simulate", "injector", "--mqtt", f"mqtt://127.0.0.1:{broker.port}", "--seconds", "600", "--json"]
        async with asyncio.timeout(PATIENCE_S), aiomqtt.Client("127.0.0.1", broker.port) as watcher:
            await watcher.subscribe("suite/injector/state")
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "drivers.cli", *words), stdout=asyncio.subprocess.PIPE
            )
            message = await anext(aiter(watcher.messages))
            await watcher.publish("suite/injector/command", '{"command": "stop"}', qos=1)
            async for message in watcher.messages:
                if not json.loads(message.payload)["running"]:
                    break
            process.terminate()
            assert process.stdout is not None
            report = json.loads(await process.stdout.read())
            assert await process.wait() == 0
    finally:
        await broker.stop()
    assert report["commands"] == 1
    assert report["stopped_s"] > 0.0


def test_a_suite_without_a_place_for_cement_does_not_pretend(nifti):
    arguments = parsed("suite", "--volume", str(nifti), "--frames", "1", "--cement-after-s", "1")
    with pytest.raises(ConfigError, match="no injection"):
        arguments.run(arguments)
