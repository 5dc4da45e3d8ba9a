"""`guidance check`: says before a start what a start would find: configuration, folder, ports, certificates, tables."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from drivers.case_store import CaseStore
from drivers.planning_library import c_arm_of, c_arms_of, instruments_of
from drivers.settings import add_config_argument, load_settings
from guidance.config import Settings
from guidance.errors import ConfigError
from guidance.geometry.calibration import calibration_table_from_text

_MIB: Final = 1 << 20


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser("check", help="validate configuration, ports, certificates, geometry tables")
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    settings = load_settings(arguments.config)
    results = [_result(name, probe) for name, probe in _probes(settings)]
    good = all(result["ok"] for result in results)
    if arguments.json:
        print(json.dumps({"ok": good, "checks": results}, indent=2))
    else:
        for result in results:
            print(f"{'ok  ' if result['ok'] else 'FAIL'}  {result['name']}: {result['detail']}")
    return 0 if good else 1


def _result(name: str, probe: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"name": name, "ok": True, "detail": probe()}
    except ConfigError as error:
        return {"name": name, "ok": False, "detail": str(error), "code": error.code}


def _probes(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "configuration", lambda: "every key is known and in range"
    yield "data folder", lambda: _folder(settings)
    listeners = {
        "http.port": (settings.http.host, settings.http.port),
        "openigtlink.input_port": (settings.openigtlink.host, settings.openigtlink.input_port),
        "openigtlink.output_port": (settings.openigtlink.host, settings.openigtlink.output_port),
    }
    if settings.dicom.enabled:
        listeners["dicom.port"] = (settings.dicom.host, settings.dicom.port)
    for name, (host, port) in listeners.items():
        yield name, partial(_port, name, host, port)
    if settings.dicom.tls_certificate:
        dicom = settings.dicom
        yield "dicom TLS", lambda: _certificate("dicom", dicom.tls_certificate, dicom.tls_key, dicom.tls_ca)
    if settings.mqtt.tls_certificate or settings.mqtt.tls_ca:
        mqtt = settings.mqtt
        yield "mqtt TLS", lambda: _certificate("mqtt", mqtt.tls_certificate, mqtt.tls_key, mqtt.tls_ca)
    if settings.geometry.calibration_table:
        yield "calibration table", lambda: _table(settings.geometry.calibration_table)
    planning = settings.planning
    yield "instruments", lambda: f"{len(instruments_of(planning).instruments)} in the library"
    yield "C-arm models", lambda: f"views are for {c_arm_of(planning, c_arms_of(planning)).name}"


def _folder(settings: Settings) -> str:
    folder = Path(settings.data.dir).expanduser()
    CaseStore(folder)
    free_mib = shutil.disk_usage(folder).free // _MIB
    if settings.dicom.enabled and free_mib < settings.dicom.disk_watermark_mib:
        raise ConfigError(
            f"{folder} has {free_mib} MiB free, less than the watermark of {settings.dicom.disk_watermark_mib}",
            code="disk_full",
            mend="make room, or lower dicom.disk_watermark_mib",
        )
    return f"{folder} is writable, {free_mib} MiB free"


def _port(name: str, host: str, port: int) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(found[0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[4])
    except OSError as error:
        message = f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}"
        raise ConfigError(message, code="port_taken", mend=f"end what listens there, or change {name}") from None
    return f"{host}:{port} is free"


def _certificate(section: str, certificate: str, key: str, authority: str) -> str:
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if certificate:
            context.load_cert_chain(certificate, key or None)
        if authority:
            context.load_verify_locations(authority)
    except (OSError, ssl.SSLError) as error:
        message = f"certificate, key or authority cannot be used: {error}"
        raise ConfigError(message, code="bad_certificate", mend=f"mend tls_* in [{section}]") from None
    return "certificate, key and authority fit"


def _table(file: str) -> str:
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot read {file}: {error}"
        raise ConfigError(message, code="bad_setting", mend="mend geometry.calibration_table") from None
    table = calibration_table_from_text(text, origin=file)
    known = sum(view.covariance is not None for view in table.views)
    said = "with covariance" if known == len(table.views) else "without covariance: bands rest on settings"
    return f"{len(table.views)} views, {said}, reach {table.tolerance_deg:g} deg"
