"""Other CPU projectors for the benchmark: a child process on an interpreter that has them, or none and why."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from guidance.geometry.camera import CameraParts, decomposed
from guidance.messages import F64

INTERPRETER: Final = "GUIDANCE_PEERS_PYTHON"
"""Environment variable: the Python of another virtual environment that has the peers (`itk-rtk`, `nanodrr`, ...)."""

_CHILD: Final = Path(__file__).with_name("drr_peer.py")
_SOURCE_TO_DETECTOR_MM: Final = 1200.0


@dataclass(frozen=True, slots=True, eq=False)
class PeerPicture:
    """What a peer made of a view: value times mm, and how long it took."""

    picture: npt.NDArray[np.float32]
    cpu_ms: float
    wall_ms: float


class DrrPeers:
    """The peers that this machine has, for one volume; ask within `with`.

    Args:
        voxels: float32 [k, j, i].
        affine_lps_from_ijk: (4, 4), a scale and a shift.
        folder: where volume and pictures are handed over.

    Attributes:
        versions: by peer; empty where none is installed.
        absent: why, in words; None where one is.
    """

    def __init__(self, voxels: npt.NDArray[np.float32], affine_lps_from_ijk: F64, folder: Path) -> None:
        self.versions: dict[str, str] = {}
        self.absent: str | None = None
        self._folder = folder
        self._child: subprocess.Popen[str] | None = None
        interpreter = os.environ.get(INTERPRETER)
        if interpreter is None:
            if importlib.util.find_spec("itk") is None:
                self.absent = f"no peer is installed: pip install itk-rtk here, or name another Python in {INTERPRETER}"
                return
            interpreter = sys.executable
        spacing_mm = np.diag(affine_lps_from_ijk)[:3]
        np.savez(folder / "volume.npz", voxels=voxels, spacing_mm=spacing_mm, origin_mm=affine_lps_from_ijk[:3, 3])
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._child = subprocess.Popen(
            [interpreter, str(_CHILD), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.versions = self._answer()["peers"]
        if not self.versions:
            self.absent = f"{interpreter} has none of the peers"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.communicate()

    def project(self, peer: str, pixel_from_patient: F64, size: tuple[int, int]) -> PeerPicture:
        """One view by one peer; the principal point must be the picture's middle."""
        if self._child is None or self._child.stdin is None:
            raise RuntimeError("there is no peer to ask")
        parts = decomposed(pixel_from_patient)
        order = {"peer": peer, "rows": size[0], "columns": size[1], "picture": peer, **_placed(parts)}
        self._child.stdin.write(json.dumps(order) + "\n")
        self._child.stdin.flush()
        answer = self._answer()
        picture = np.load(self._folder / f"{peer}.npy")
        return PeerPicture(picture, answer["cpu_ms"], answer["wall_ms"])

    def _answer(self) -> dict[str, Any]:
        if self._child is None or self._child.stdout is None:
            raise RuntimeError("there is no peer to ask")
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"the peers' process ended with code {self._child.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _placed(parts: CameraParts) -> dict[str, Any]:
    """Source and detector as the child wants them; any distance will do, the pitch goes with it."""
    return {
        "source_mm": parts.source_lps_mm.tolist(),
        "right": parts.axes[0].tolist(),
        "down": parts.axes[1].tolist(),
        "toward": (-parts.axes[2]).tolist(),
        "source_to_detector_mm": _SOURCE_TO_DETECTOR_MM,
        "pitch_mm": _SOURCE_TO_DETECTOR_MM / parts.focal_u_px,
    }
