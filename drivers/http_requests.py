"""What a request says: its JSON object, its files, who sends it; nothing of what it means."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import unquote

import msgspec
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from drivers.http_problem import RequestError
from guidance.case import Author
from guidance.wire.json_text import json_text

PREFIX: Final = "/api/v1"
MERGE_PATCH: Final = "application/merge-patch+json"
OPERATOR_HEADER: Final = "X-Operator"

# A path is a few hundred bytes, a polygon of 256 corners 20 KiB; nothing that is JSON needs more, but markups files.
LARGEST_JSON_BYTES: Final = 64 * 1024
_LARGEST_FIELD_BYTES: Final = 1 << 20
_MOST_PARTS: Final = 8
_LONGEST_OPERATOR: Final = 64


@dataclass(frozen=True, slots=True)
class Upload:
    """What a multipart request brought.

    Attributes:
        file: the main file, on disk; gone when the request is answered.
        filename: as the client calls it.
        texts: other parts' content by name, files or fields.
    """

    file: Path
    filename: str
    texts: dict[str, bytes]


def resource(path: str, **handlers: Callable[[Request], Awaitable[Response]]) -> Route:
    """One route with all methods of a resource: Starlette's 405 then names every method that it takes."""

    async def endpoint(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return Route(f"{PREFIX}{path}", endpoint, methods=list(handlers))


def json_response(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A shape as JSON."""
    return Response(json_text(value), status_code=status, headers=headers, media_type="application/json")


def author_of(request: Request) -> Author:
    """Who asks, for the audit: the client's address, and the name in `X-Operator` (UTF-8, percent-encoded or not)."""
    said = request.headers.get(OPERATOR_HEADER, "")
    with suppress(UnicodeError):
        said = said.encode("latin-1").decode("utf-8")  # Starlette reads header bytes as Latin-1
    name = "".join(character for character in unquote(said) if character.isprintable()).strip()
    peer = f"{request.client.host}:{request.client.port}" if request.client else ""
    return Author(via="http", peer=peer, operator=name[:_LONGEST_OPERATOR])


async def json_object(
    request: Request, *, also: str = "application/json", largest_bytes: int = LARGEST_JSON_BYTES
) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        RequestError: 415 another type, 413 too large, 400 not JSON or no object.
    """
    return object_of(await json_body(request, also=also, largest_bytes=largest_bytes))


async def json_object_or_nothing(request: Request) -> dict[str, Any]:
    """The body as a JSON object; {} where there is none, of whatever type.

    Raises:
        RequestError: as `json_object`.
    """
    if request.headers.get("content-length", "") == "0" or "content-type" not in request.headers:
        body = b"".join([chunk async for chunk in _chunks(request, LARGEST_JSON_BYTES)])
        return object_of(body) if body.strip() else {}
    return await json_object(request)


async def json_body(request: Request, *, also: str = "application/json", largest_bytes: int) -> bytes:
    """The body's bytes, of a type that says JSON.

    Raises:
        RequestError: 415 another type, 413 too large, 400 cut.
    """
    kind = content_type(request)
    if kind not in ("application/json", also):
        raise RequestError(
            415, f"content type {kind!r} is not taken", code="not_json_type", mend="send application/json"
        )
    received = bytearray()
    async for chunk in _chunks(request, largest_bytes):
        received += chunk
    return bytes(received)


def object_of(body: bytes) -> dict[str, Any]:
    """A JSON object from its text.

    Raises:
        RequestError: 400.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(
            400, f"the body is not JSON: {error}", code="not_json", mend="NaN and Infinity are not JSON either"
        ) from None
    if not isinstance(value, dict):
        raise RequestError(400, "the body is not a JSON object", code="not_an_object", mend='send {"member": value}')
    return value


def content_type(request: Request) -> str:
    """The media type without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


@asynccontextmanager
async def uploaded(request: Request, *, main: tuple[str, ...], largest_bytes: int) -> AsyncIterator[Upload]:
    """The parts of a multipart/form-data request; the main one on disk while the context lasts.

    Nothing large passes the event loop's thread: the parts go to disk as they come.

    Args:
        request: the request.
        main: names that the main file's part may have.
        largest_bytes: of the whole body.

    Raises:
        RequestError: 415 not multipart, 413 too large, 400 cut or damaged or without the main part.
    """
    if content_type(request) != "multipart/form-data":
        raise RequestError(
            415,
            f"content type {content_type(request)!r} is not taken",
            code="not_multipart",
            mend=f"send multipart/form-data with a file as {main[0]!r}",
        )
    parser = MultiPartParser(
        request.headers,
        _chunks(request, largest_bytes),
        max_files=_MOST_PARTS,
        max_fields=_MOST_PARTS,
        max_part_size=_LARGEST_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RequestError(400, f"the multipart body cannot be read: {error.message}", code="bad_multipart") from None
    try:
        given = next((part for name in main if isinstance(part := form.get(name), UploadFile)), None)
        if given is None:
            raise RequestError(
                400, f"there is no file {main[0]!r}", code="no_file", mend=f"send the file as part {main[0]!r}"
            )
        texts = await _texts(form, main)
        descriptor, name = tempfile.mkstemp(prefix="guidance-upload-")  # readable by us alone
        try:
            with os.fdopen(descriptor, "wb") as file:
                await asyncio.to_thread(_copy, given.file, file)
            yield Upload(Path(name), given.filename or "", texts)
        finally:
            await asyncio.to_thread(os.unlink, name)
    finally:
        await form.close()


async def _texts(form: FormData, main: tuple[str, ...]) -> dict[str, bytes]:
    texts: dict[str, bytes] = {}
    for name, part in form.multi_items():
        if name in main:
            continue
        if isinstance(part, UploadFile):
            content = await part.read(_LARGEST_FIELD_BYTES + 1)
            if len(content) > _LARGEST_FIELD_BYTES:
                raise RequestError(
                    413, f"part {name!r} has more than {_LARGEST_FIELD_BYTES} bytes", code="body_too_large"
                )
            texts[name] = content
        else:
            texts[name] = part.encode()
    return texts


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    source.seek(0)
    shutil.copyfileobj(source, target, 1 << 20)


async def _chunks(request: Request, largest_bytes: int) -> AsyncGenerator[bytes, None]:
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > largest_bytes:
                raise RequestError(
                    413, f"the body has more than {largest_bytes} bytes", code="body_too_large", mend="send less"
                )
            yield chunk
    except ClientDisconnect:
        raise RequestError(400, "the body ended early", code="body_cut") from None
