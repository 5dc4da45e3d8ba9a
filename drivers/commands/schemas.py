"""`guidance schemas DIR`: writes the JSON Schemas of all messages and the OpenAPI document."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from guidance.openapi import openapi_document
from guidance.schemas import HTTP_SCHEMAS, message_schemas
from guidance.wire.mqtt import MQTT_SHAPES


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("schemas", help="write the JSON Schemas of all messages")
    parser.add_argument("directory", type=Path, help="folder to write into, made where it does not exist")
    parser.set_defaults(run=_run)


def schema_files() -> dict[str, str]:
    """File name -> content of everything the command writes."""
    documents: dict[str, Any] = message_schemas(HTTP_SCHEMAS | MQTT_SHAPES)
    documents["openapi"] = openapi_document()
    return {
        f"{name}.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        for name, document in documents.items()
    }


def _run(arguments: argparse.Namespace) -> int:
    directory: Path = arguments.directory
    directory.mkdir(parents=True, exist_ok=True)
    files = schema_files()
    for name, content in files.items():
        (directory / name).write_text(content, encoding="utf-8")
    print(f"{len(files)} schemas written to {directory}")
    return 0
