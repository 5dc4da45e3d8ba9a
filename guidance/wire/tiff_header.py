"""What must hold of a TIFF file before a decoder sees it: one whole grey page, upright, black at zero."""

from __future__ import annotations

import struct
from typing import Final

from guidance.errors import WireError

# Tags of TIFF 6.0, section 8.
_COLUMNS: Final = 256
_ROWS: Final = 257
_PHOTOMETRIC: Final = 262
_STRIP_OFFSETS: Final = 273
_ORIENTATION: Final = 274
_STRIP_BYTES: Final = 279
_TILE_OFFSETS: Final = 324
_TILE_BYTES: Final = 325
_FORMATS: Final = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT, LONG
_PALETTE: Final = 3
_WHITE_IS_ZERO: Final = 0
_MOST_TAGS: Final = 4096


def check_tiff(data: bytes, *, origin: str, maximum_pixels: int) -> None:
    """Check the first page's directory.

    Args:
        data: the file, classic TIFF of either byte order.
        origin: its name.
        maximum_pixels: more are refused.

    Raises:
        WireError: `unreadable_picture`: cut short, several pages, turned or mirrored by its Orientation, a palette, or
            white at zero, which decoders undo for some depths and not for others.

    Source: TIFF Revision 6.0, sections 2 and 8.
    """
    try:
        tags, following = _directory(data)
    except (struct.error, IndexError):
        raise _refused(f"{origin} is cut short or damaged") from None
    rows, columns = tags.get(_ROWS, (0,))[0], tags.get(_COLUMNS, (0,))[0]
    if not 0 < rows * columns <= maximum_pixels:
        raise _refused(f"{origin} claims {rows} x {columns} pixels", f"at most {maximum_pixels}")
    if following:
        raise _refused(f"{origin} has several pages", "one picture")
    if tags.get(_ORIENTATION, (1,))[0] != 1:
        raise _refused(f"{origin} has an Orientation tag: its rows are not as they are seen", "write it upright")
    photometric = tags.get(_PHOTOMETRIC, (1,))[0]
    if photometric in (_PALETTE, _WHITE_IS_ZERO):
        kind = "a palette" if photometric == _PALETTE else "white at zero"
        raise _refused(f"{origin} has {kind}: what its numbers mean is not known", "BlackIsZero")
    for offsets, counts in ((_STRIP_OFFSETS, _STRIP_BYTES), (_TILE_OFFSETS, _TILE_BYTES)):
        for at, length in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False):
            if at + length > len(data):
                raise _refused(f"{origin} is cut short or damaged")


def _directory(data: bytes) -> tuple[dict[int, tuple[int, ...]], int]:
    """Whole-number tags of the first page, and where the next page is (0: there is none)."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    tags: dict[int, tuple[int, ...]] = {}
    for entry in range(at + 2, at + 2 + 12 * min(count, _MOST_TAGS), 12):
        tag, kind, length = struct.unpack_from(f"{order}HHI", data, entry)
        if kind in _FORMATS and 0 < length <= len(data):
            size = struct.calcsize(_FORMATS[kind]) * length
            place = entry + 8 if size <= 4 else struct.unpack_from(f"{order}I", data, entry + 8)[0]
            tags[tag] = struct.unpack_from(f"{order}{length}{_FORMATS[kind]}", data, place)
    (following,) = struct.unpack_from(f"{order}I", data, at + 2 + 12 * count)
    return tags, following


def _refused(message: str, mend: str = "") -> WireError:
    return WireError(message, code="unreadable_picture", mend=mend)
