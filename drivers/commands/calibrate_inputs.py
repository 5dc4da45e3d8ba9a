"""The files that `guidance calibrate` reads: views of the phantom, and where it lay; a bad one is named, not fatal."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from drivers.commands.register_inputs import read_bytes
from guidance.calibration.told_view import ToldView, told_view
from guidance.errors import ConfigError, GeometryError, GuidanceError, WireError
from guidance.geometry.intensity import PixelIntensity, collimated, read_intensity
from guidance.geometry.metadata import read_metadata
from guidance.messages import F64, Pixels
from guidance.wire.picture_files import read_picture
from guidance.wire.view_files import read_view

_RIGID: Final = 1e-4
_AS_MEASURED: Final = PixelIntensity()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibrationPicture:
    """One picture with its told stand; its pixels are made when they are asked for, one picture at a time.

    Attributes:
        told: where the gantry says it stood.
        pixels: gives (rows, columns).
        intensity: what they mean.
        valid: (rows, columns) bool, False where nothing counts; None: all.
    """

    told: ToldView
    pixels: Callable[[], Pixels]
    intensity: PixelIntensity = _AS_MEASURED
    valid: npt.NDArray[np.bool_] | None = None

    @property
    def name(self) -> str:
        return self.told.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A view whose files or geometry cannot be used."""

    name: str
    code: str
    reason: str
    mend: str


def pictures_of(paths: Sequence[Path]) -> list[CalibrationPicture | Unreadable]:
    """The views of files and folders, in the order of their names.

    Raises:
        ConfigError: `no_file` where there is no view at all; `names_not_unique`.
    """
    files: list[Path] = []
    for path in paths:
        files += sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise ConfigError(
            f"no view file in {', '.join(map(str, paths))}", code="no_file", mend='JSON files {"image", "geometry"}'
        )
    pictures = [_picture(file) for file in files]
    names = [picture.name for picture in pictures]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two views are named {twice!r}", code="names_not_unique", mend='give each its own "name"')
    return pictures


def pose_of(file: Path) -> F64:
    """(4, 4) equipment_from_phantom from a JSON file: rows of numbers.

    Raises:
        ConfigError: `bad_pose`.
    """
    try:
        rows = np.array(json.loads(read_bytes(file, "JSON, four rows of four numbers")), np.float64)
    except (ValueError, TypeError):
        rows = np.zeros(0)
    if rows.shape != (4, 4) or not np.isfinite(rows).all():
        raise ConfigError(f"{file} holds no 4x4 numbers", code="bad_pose", mend="[[r, r, r, x], ..., [0, 0, 0, 1]]")
    turn = rows[:3, :3]
    rigid = np.abs(turn @ turn.T - np.eye(3)).max() < _RIGID and np.linalg.det(turn) > 0.0
    if not rigid or np.abs(rows[3] - (0.0, 0.0, 0.0, 1.0)).max() > _RIGID:
        raise ConfigError(f"{file} is no rigid motion", code="bad_pose", mend="a rotation and a shift in mm, 0 0 0 1")
    return rows


def _picture(file: Path) -> CalibrationPicture | Unreadable:
    try:
        return _read(file)
    except ConfigError as error:
        if error.code != "no_file":
            raise
        return _unreadable(file, error)
    except (WireError, GeometryError) as error:
        return _unreadable(file, error)


def _read(file: Path) -> CalibrationPicture:
    view = read_view(read_bytes(file, 'a JSON file {"image": ..., "geometry": {...}}'), origin=file.name)
    image = file.parent / view.image
    picture = read_picture(read_bytes(image, f"{file.name} names it"), origin=view.image, frame=view.frame)
    xray = read_metadata(view.metadata)
    rows, columns = picture.pixels.shape
    told = told_view(file.stem if view.name == view.image else view.name, xray, rows, columns)
    valid, blades = picture.valid, collimated(xray, rows, columns)
    if blades is not None:
        valid = blades if valid is None else valid & blades
    if xray.live is False:
        raise WireError(f"{told.name} is a held picture", code="held", mend="take a live one")
    return CalibrationPicture(
        told=told,
        pixels=lambda: picture.pixels,
        intensity=read_intensity(view.metadata, picture.intensity or PixelIntensity()),
        valid=valid,
    )


def _unreadable(file: Path, error: GuidanceError) -> Unreadable:
    return Unreadable(name=file.stem, code=error.code, reason=str(error.args[0]), mend=error.mend)
