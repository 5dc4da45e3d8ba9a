"""Makes docs/pictures/instruments_*.png: `python -m tests.make_instrument_pictures`, plans and what is found of them.

The real pelvis CT with three simulated instruments, one of them bent, at a low dose; drawn as the live picture is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from drivers.commands.instrument_scene import KINDS, Placed, gantry_at, patients
from guidance.config import OverlaySettings
from guidance.geometry.tube import project_tubes, tubes_of_paths
from guidance.kernels import compose_frame, frame_buffers
from guidance.overlay.colors import rgb_of
from guidance.overlay.layout import placed_words, sheet_of
from guidance.overlay.needle_lines import needle_lines, needle_words
from guidance.overlay.path_lines import path_lines
from guidance.overlay.pieces import scene_of
from guidance.tracking.depth import constrained_to_path, depth_of
from guidance.tracking.find import find_instruments
from guidance.tracking.place import instrument_3d
from guidance.tracking.track import InstrumentTrack, observe
from guidance.tracking.values import InstrumentView
from simulators.scene import Exposure

_FOLDER: Final = Path(__file__).resolve().parents[1] / "docs" / "pictures"
_POSES: Final = ((180.0, 25.0), (180.0, -22.0))
_PHOTONS: Final = 100.0
_SHOWN_ROWS: Final = 720
_SHRUNK: Final = 0.8
_SHADES: Final = 16  # grey levels taken together, so that the noise does not fill the file
# Path, kind, depth of the tip from the entry, aside, turn, bend: mm and degrees.
_INSTRUMENTS: Final = ((1, 1, 55.0, 2.0, 2.0, 4.0), (2, 4, 62.0, -1.5, 2.0, 0.0), (3, 3, 76.0, 1.0, -2.0, 0.0))


def main() -> None:
    """Write one picture per pose."""
    patient = patients(print)[-1]
    instruments, paths = [], list(patient.paths)
    for index, kind_index, depth_mm, aside_mm, turn_deg, bend_mm in _INSTRUMENTS:
        kind = KINDS[kind_index]
        paths[index] = replace(paths[index], diameter_mm=kind.diameter_mm)
        entry, target = np.array(paths[index].entry_lps_mm), np.array(paths[index].target_lps_mm)
        way = (target - entry) / np.linalg.norm(target - entry)
        side = np.cross(way, (0.0, 1.0, 0.0))
        side /= np.linalg.norm(side)
        axis = way + np.tan(np.radians(turn_deg)) * side
        instruments.append(
            Placed(
                kind=kind,
                tip_lps_mm=tuple(entry + depth_mm * way + aside_mm * side),
                axis=tuple(axis / np.linalg.norm(axis)),
                side=tuple(side),
                length_mm=280.0,
                bend_mm=bend_mm,
            )
        )
    shots = []
    for number, pose in enumerate(_POSES):
        gantry = gantry_at(*pose, np.array((0.0, -100.0, 205.0)))
        picture = patient.picture(gantry, instruments, Exposure(dose_photons=_PHOTONS), seed=number)
        matrix = gantry.pixel_from_patient()
        shots.append((picture, matrix, find_instruments(picture, matrix, paths, known_metal=patient.metal)))
    for number, (picture, matrix, found) in enumerate(shots):
        tracks = []
        for seen in found:
            path = next(path for path in paths if path.id == seen.path_id)
            depth = constrained_to_path(path, seen, matrix)
            if number:  # the second picture knows the first
                views = [
                    InstrumentView(seen=one, pixel_from_patient=shot[1])
                    for shot in shots
                    for one in shot[2]
                    if one.path_id == path.id
                ]
                placed = instrument_3d(views)
                depth = depth_of(path, placed) if placed.accepted else depth
                print(path.label, placed.reason)
            tracks.append(observe(InstrumentTrack(path_id=path.id), seen, depth, received_ns=1))
        sheet = sheet_of(picture.shape, OverlaySettings(), frozenset(rgb_of(path.color) for path in paths))
        lines = []
        for path, tube in zip(paths, project_tubes(tubes_of_paths(tuple(paths), 10.0), matrix), strict=True):
            if tube.drawn:
                lines += path_lines(tube, rgb_of(path.color), path.id, line_width_px=sheet.line_width_px, scale=1.0)
        lines += needle_lines(found, line_width_px=sheet.line_width_px, scale=1.0, taken=sheet.taken)
        words = placed_words(needle_words(paths, tracks), sheet)
        scene = scene_of(lines, words.texts, [path.id for path in paths])
        buffers = frame_buffers(*picture.shape)
        low, high = np.percentile(picture[::8, ::8], (1.0, 97.0))
        compose_frame(
            picture,
            float(low),
            float(high),
            scene.strokes,
            scene.sprites,
            scene.sprite_table,
            buffers.rgb,
            buffers.layer,
            buffers.dirty,
        )
        file = _FOLDER / f"instruments_{number + 1}.png"
        part = cv2.cvtColor(buffers.rgb, cv2.COLOR_RGB2BGR)[:_SHOWN_ROWS]
        part = cv2.resize(part, None, fx=_SHRUNK, fy=_SHRUNK, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(file), (part // _SHADES) * _SHADES, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        print(f"{file}: {file.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
