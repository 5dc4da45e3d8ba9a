"""`guidance serve` as a process: readiness, SIGTERM, wrong configuration, and everything stored."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE

from tests.helpers.dicom_objects import ct_series, phantom


def _environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GUIDANCE_")}
    ports = ("HTTP_PORT", "OPENIGTLINK_INPUT_PORT", "OPENIGTLINK_OUTPUT_PORT", "DICOM_PORT")
    return kept | {f"GUIDANCE_{name}": "0" for name in ports} | {"GUIDANCE_DATA_DIR": str(folder)} | more


def _page(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if "Page: " in line:
            assert "not for clinical use" in line
            return line.rpartition("Page: ")[2].strip()
    raise AssertionError("the server ended before it listened")


def test_sigterm_ends_within_five_seconds_with_everything_stored(tmp_path: Path) -> None:
    serve = [sys.executable, "-m", "drivers.cli", "serve"]
    with subprocess.Popen(serve, env=_environment(tmp_path), stdout=subprocess.PIPE, text=True) as process:
        try:
            page = _page(process)
            with urllib.request.urlopen(f"{page}readyz", timeout=10) as answer:
                assert answer.status == 200
            body = {"entry_lps_mm": [0, 0, 0], "target_lps_mm": [0, 50, 0], "diameter_mm": 3.2, "label": "pin"}
            request = urllib.request.Request(
                f"{page}api/v1/paths", json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert answer.status == 201
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=5) == 0
        finally:
            process.kill()
    assert json.loads((tmp_path / "case.json").read_text())["paths"][0]["label"] == "pin"


def test_a_restarted_server_is_ready_when_its_active_volume_is_back(tmp_path: Path) -> None:
    serve = [sys.executable, "-m", "drivers.cli", "serve"]
    for start in range(2):
        with subprocess.Popen(serve, env=_environment(tmp_path), stdout=subprocess.PIPE, text=True) as process:
            try:
                page, dicom_port = _page_and_dicom_port(process)
                _until(lambda page=page: _get(f"{page}readyz")["ready"])
                if start == 0:
                    series = ct_series(phantom())
                    for dataset in series:
                        dataset.ImagesInAcquisition = len(series)
                    _store(dicom_port, series)
                    _until(lambda page=page: _is_active(page))
                # From the moment on that it says it is ready, a client may rely on the volume.
                assert _is_active(page)
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=5) == 0
            finally:
                process.kill()


def _page_and_dicom_port(process: subprocess.Popen[str]) -> tuple[str, int]:
    assert process.stdout is not None
    dicom_port = 0
    for line in process.stdout:
        if line.startswith("dicom "):
            dicom_port = int(line.split()[1].rpartition(":")[2])
        if "Page: " in line:
            return line.rpartition("Page: ")[2].strip(), dicom_port
    raise AssertionError("the server ended before it listened")


def _get(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return dict(json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        with error:
            return dict(json.loads(error.read()))


def _is_active(page: str) -> bool:
    items = _get(f"{page}api/v1/volumes")["items"]
    return [(item["state"], item["active"]) for item in items] == [("ready", True)]


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _store(port: int, series: list[Dataset]) -> None:
    entity = AE()
    entity.add_requested_context(series[0].SOPClassUID, series[0].file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port)
    assert association.is_established
    for dataset in series:
        assert association.send_c_store(dataset).Status == 0
    association.release()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param("[dicom]\nprt = 1\n", "prt", id="unknown-key"),
        pytest.param("[dicom\n", "TOML", id="not-toml"),
        pytest.param('[geometry]\ncalibration_table = "nowhere.toml"\n', "nowhere.toml", id="missing-table"),
        pytest.param(
            '[dicom]\ntls_certificate = "a.pem"\ntls_key = "b.pem"\n', "tls_certificate", id="missing-certificate"
        ),
    ],
)
def test_a_wrong_configuration_is_one_line_and_exit_code_2(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "site.toml"
    file.write_text(text, encoding="utf-8")
    serve = [sys.executable, "-m", "drivers.cli", "serve", "--config", str(file)]
    done = subprocess.run(serve, env=_environment(tmp_path), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert named in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_taken_port_is_a_failure_that_another_start_may_mend(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for name in ("HTTP_PORT", "OPENIGTLINK_INPUT_PORT", "OPENIGTLINK_OUTPUT_PORT", "DICOM_PORT"):
            environment = _environment(tmp_path, **{f"GUIDANCE_{name}": port})
            serve = [sys.executable, "-m", "drivers.cli", "serve"]
            done = subprocess.run(serve, env=environment, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 1, name
            assert port in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1


def test_an_unwritable_data_folder_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    serve = [sys.executable, "-m", "drivers.cli", "serve"]
    environment = _environment(blocked / "data")
    done = subprocess.run(serve, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert str(blocked) in done.stderr
