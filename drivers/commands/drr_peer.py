"""A child process that projects with other libraries, on an interpreter of its own: numpy and they, nothing of ours.

Started as `python drr_peer.py FOLDER`; FOLDER/volume.npz holds `voxels` (float32 [k, j, i]), `spacing_mm`, `origin_mm`.
The first line out is `{"peers": {name: version}}`. A line in is an order: `{"peer", "source_mm", "right", "down",
"toward" (unit vectors), "source_to_detector_mm", "rows", "columns", "pitch_mm", "picture"}`; the principal point is the
picture's middle. A line out is `{"cpu_ms", "wall_ms"}`; the picture goes to FOLDER/<picture>.npy. One thread.
"""

import importlib
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

SAMPLES = 500  # along a ray, where a peer asks how many: nanodrr's and diffdrr's default


class Stopwatch:
    """CPU and wall time of what runs within it, ms."""

    def __init__(self) -> None:
        self.cpu_ms = self.wall_ms = 0.0

    def __enter__(self) -> "Stopwatch":
        self._cpu_ns, self._wall_ns = time.process_time_ns(), time.perf_counter_ns()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_ms = (time.process_time_ns() - self._cpu_ns) / 1e6
        self.wall_ms = (time.perf_counter_ns() - self._wall_ns) / 1e6


class RtkJoseph:
    """The Joseph forward projection of RTK."""

    package: ClassVar = "itk-rtk"

    def __init__(self, voxels: Any, spacing_mm: Any, origin_mm: Any) -> None:
        self._itk = itk = importlib.import_module("itk")
        self._rtk = itk.RTK
        itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)
        self._volume = itk.image_from_array(voxels)
        self._volume.SetSpacing([float(x) for x in spacing_mm])
        self._volume.SetOrigin([float(x) for x in origin_mm])

    def __call__(self, order: dict[str, Any]) -> tuple[Stopwatch, Any]:
        itk, rtk = self._itk, self._rtk
        source = np.array(order["source_mm"])
        detector = source - order["source_to_detector_mm"] * np.array(order["toward"])
        geometry = rtk.ThreeDCircularProjectionGeometry.New()
        placed = geometry.AddProjection(
            self._filled(itk.Point[itk.D, 3], source),
            self._filled(itk.Point[itk.D, 3], detector),
            self._filled(itk.Vector[itk.D, 3], order["right"]),
            self._filled(itk.Vector[itk.D, 3], order["down"]),
        )
        if not placed:
            raise ValueError("RTK refuses this geometry")
        rows, columns, pitch_mm = order["rows"], order["columns"], order["pitch_mm"]
        blank = itk.image_from_array(np.zeros((1, rows, columns), np.float32))
        blank.SetSpacing([pitch_mm, pitch_mm, 1.0])
        blank.SetOrigin([-(columns - 1) / 2.0 * pitch_mm, -(rows - 1) / 2.0 * pitch_mm, 0.0])
        image = itk.Image[itk.F, 3]
        joseph = rtk.JosephForwardProjectionImageFilter[image, image].New()
        joseph.SetInput(0, blank)
        joseph.SetInput(1, self._volume)
        joseph.SetGeometry(geometry)
        joseph.SetNumberOfWorkUnits(1)
        with Stopwatch() as watch:
            joseph.Update()
        return watch, itk.array_from_image(joseph.GetOutput())[0]

    @staticmethod
    def _filled(kind: Any, numbers: Any) -> Any:
        filled = kind()
        for n, number in enumerate(numbers):
            filled.SetElement(n, float(number))
        return filled


class NanoDrr:
    """nanodrr's ray marcher on the CPU."""

    package: ClassVar = "nanodrr"

    def __init__(self, voxels: Any, spacing_mm: Any, origin_mm: Any) -> None:
        self._torch = torch = importlib.import_module("torch")
        subject = importlib.import_module("nanodrr.data").Subject
        self._render = importlib.import_module("nanodrr.drr").render
        torch.set_num_threads(1)
        world_from_voxel = np.diag([*spacing_mm, 1.0])
        world_from_voxel[:3, 3] = origin_mm
        size = np.array(voxels.shape[::-1], np.float64)
        grid_from_voxel = np.diag([*(2.0 / size), 1.0])
        grid_from_voxel[:3, 3] = 1.0 / size - 1.0
        image = torch.from_numpy(voxels)[None, None]
        self._subject = subject(
            image,
            torch.zeros(1, 1, 1, 1, 1),
            self._tensor(world_from_voxel),
            self._tensor(np.linalg.inv(world_from_voxel)),
            self._tensor(grid_from_voxel),
            torch.zeros(3),
            convert_to_mu=False,
        )

    def __call__(self, order: dict[str, Any]) -> tuple[Stopwatch, Any]:
        torch = self._torch
        distance_mm, pitch_mm = order["source_to_detector_mm"], order["pitch_mm"]
        rows, columns = order["rows"], order["columns"]
        step = pitch_mm / distance_mm
        camera_from_pixel = [[step, 0.0, -step * columns / 2.0], [0.0, step, -step * rows / 2.0], [0.0, 0.0, 1.0]]
        world_from_camera = np.eye(4)
        world_from_camera[:3] = np.column_stack(
            (order["right"], order["down"], -np.array(order["toward"]), order["source_mm"])
        )
        places = (self._tensor([camera_from_pixel]), self._tensor([world_from_camera]), torch.tensor([distance_mm]))
        with Stopwatch() as watch, torch.no_grad():
            picture = self._render(self._subject, *places, rows, columns, SAMPLES, backend="torch")
        return watch, picture[0, 0].numpy()

    def _tensor(self, numbers: Any) -> Any:
        return self._torch.tensor(np.asarray(numbers), dtype=self._torch.float32)


class DiffDrrTrilinear:
    """diffdrr's trilinear renderer on the CPU, told source and pixels in voxels as its own module does."""

    package: ClassVar = "diffdrr"

    def __init__(self, voxels: Any, spacing_mm: Any, origin_mm: Any) -> None:
        self._torch = torch = importlib.import_module("torch")
        self._renderer = importlib.import_module("diffdrr.renderers").Trilinear()
        torch.set_num_threads(1)
        self._volume = torch.from_numpy(voxels.transpose(2, 1, 0))
        self._spacing_mm, self._origin_mm = spacing_mm, origin_mm

    def __call__(self, order: dict[str, Any]) -> tuple[Stopwatch, Any]:
        torch = self._torch
        rows, columns, pitch_mm = order["rows"], order["columns"], order["pitch_mm"]
        source = np.array(order["source_mm"])
        u = (np.arange(columns) - (columns - 1) / 2.0) * pitch_mm
        v = (np.arange(rows) - (rows - 1) / 2.0) * pitch_mm
        pixels = (
            source
            - order["source_to_detector_mm"] * np.array(order["toward"])
            + u[None, :, None] * np.array(order["right"])
            + v[:, None, None] * np.array(order["down"])
        ).reshape(1, -1, 3)
        places = [
            torch.tensor((points - self._origin_mm) / self._spacing_mm, dtype=torch.float32)
            for points in (source.reshape(1, 1, 3), pixels)
        ]
        lengths_mm = torch.tensor(np.linalg.norm(pixels - source, axis=-1), dtype=torch.float32)[:, None]
        with Stopwatch() as watch, torch.no_grad():
            picture = self._renderer(self._volume, *places, lengths_mm, n_points=SAMPLES)
        return watch, picture.reshape(rows, columns).numpy()


PEERS: dict[str, Any] = {"rtk_joseph": RtkJoseph, "nanodrr": NanoDrr, "diffdrr_trilinear": DiffDrrTrilinear}


def main(folder: Path) -> None:
    """Answer one order a line until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print; the answers' channel is ours alone
    with np.load(folder / "volume.npz") as stored:
        volume = (stored["voxels"], stored["spacing_mm"], stored["origin_mm"])
    peers = {}
    for name, kind in PEERS.items():
        try:
            peers[name] = kind(*volume)
        except ImportError as missing:
            print(f"{name}: {missing}", file=sys.stderr)
    versions = {name: f"{peer.package} {version(peer.package)}" for name, peer in peers.items()}
    answers.write(json.dumps({"peers": versions}) + "\n")
    for line in sys.stdin:
        order = json.loads(line)
        watch, picture = peers[order["peer"]](order)
        np.save(folder / f"{order['picture']}.npy", picture)
        answers.write(json.dumps({"cpu_ms": watch.cpu_ms, "wall_ms": watch.wall_ms}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
