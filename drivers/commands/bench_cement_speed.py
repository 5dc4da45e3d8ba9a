"""`guidance bench cement-speed`: a frame's cement, beside the same steps in OpenCV and SciPy and a pass over memory."""

from __future__ import annotations

import time
from typing import Any, Final

import cv2
import numpy as np

from drivers.commands.bench_report import percentile, report
from drivers.commands.cement_opencv_peer import OpenCvTracker
from drivers.commands.cement_speed_scene import PER_MM, RATE_HZ, SpeedScene
from guidance.cement.reference import ReferencePicture, reference_picture
from guidance.cement.values import CementFrame
from guidance.kernels.cement_tracker import Look, Looked, NativeTracker
from guidance.messages import F32, U8

_SIDES: Final = (512, 1024, 2048)
_PEER_FRAMES: Final = {512: 24, 1024: 16, 2048: 8}
_LEAST_MM: Final = 0.5
_MEMORY: Final = 9.0
_THICKNESS: Final = np.linspace(0.0, 120.0, 512, dtype=np.float32)
_CONTRAST_STEP: Final = PER_MM * 120.0 / 511.0


def run_cement_speed(*, quick: bool) -> dict[str, Any]:
    """Times per frame on one thread, both programs on the same frames in turn, OpenCV kept to one thread too.

    `p99_ms_<side>`, `p50_ms_<side>`, `cpu_p99_ms_<side>`: the tracker, from pixels to maps and outlines (`cpu`: its
    own thread's time, which a neighbour's load does not lengthen as much). `opencv_ms_<side>`: median of the peer.
    `speedup_vs_opencv_<side>`: medians of thread time; `speedup_vs_opencv`: the least of them. `memory_pass_ms_<side>`:
    copying as many bytes as a frame and its maps have; `ratio_vs_memory_<side>`. `dice_vs_opencv`,
    `thickness_ratio_vs_opencv`: that it is the same job; `dice_vs_truth`.
    """
    figures: dict[str, Any] = {}
    series: dict[str, Any] = {}
    speedups, dices, ratios, truths = [], [], [], []
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for side in _SIDES:
            scene = SpeedScene(side=side, before=8, frames=40 if quick else 100)
            measured = _measure(scene, passes=1 if quick else 3)
            wall, cpu, peer, memory = (measured[n] for n in ("wall_ms", "cpu_ms", "opencv_ms", "memory_ms"))
            figures[f"p50_ms_{side}"] = percentile(wall, 50.0)
            figures[f"p99_ms_{side}"] = percentile(wall, 99.0)
            figures[f"cpu_p99_ms_{side}"] = percentile(cpu, 99.0)
            figures[f"opencv_ms_{side}"] = percentile(peer, 50.0)
            figures[f"memory_pass_ms_{side}"] = percentile(memory, 50.0)
            cpu_median = percentile(cpu, 50.0) or 0.0
            speedups.append((percentile(peer, 50.0) or 0.0) / cpu_median)
            figures[f"speedup_vs_opencv_{side}"] = speedups[-1]
            figures[f"ratio_vs_memory_{side}"] = cpu_median / (percentile(memory, 50.0) or 1.0)
            dices.append(measured["dice"])
            ratios.append(measured["ratio"])
            truths.append(measured["truth"])
            series |= {f"{name}_{side}": [round(n, 3) for n in measured[name]] for name in ("wall_ms", "opencv_ms")}
    finally:
        cv2.setNumThreads(threads)
    figures["speedup_vs_opencv"] = min(speedups)
    figures["dice_vs_opencv"] = min(dices)
    figures["thickness_ratio_vs_opencv"] = max(ratios, key=lambda ratio: abs(ratio - 1.0))
    figures["dice_vs_truth"] = min(truths)
    settings = {"sides": list(_SIDES), "pixels": "uint16", "rate_hz": RATE_HZ, "opencv": cv2.__version__}
    return report("cement-speed", settings=settings, figures=figures, series=series)


def _measure(scene: SpeedScene, *, passes: int) -> dict[str, Any]:
    frames = list(scene.pictures())
    reference = reference_picture(frames[: scene.before])
    following = frames[scene.before :]
    peer_from = len(following) - _PEER_FRAMES[scene.side]
    spans: dict[str, list[float]] = {name: [] for name in ("wall_ms", "cpu_ms", "opencv_ms", "memory_ms")}
    told: Looked | None = None
    answer: tuple[U8, F32] | None = None
    for number in range(passes):
        tracker = _tracker(reference)
        peer = OpenCvTracker(reference, least_contrast=_LEAST_MM * PER_MM, per_mm=PER_MM, memory_frames=_MEMORY)
        source = np.ones(15 * scene.side**2, np.uint8)
        target = np.empty_like(source)
        for index, frame in enumerate(following):
            wall, cpu = time.perf_counter(), time.thread_time()
            told = tracker.follow(frame.pixels, reference.scale, _look(frame))
            spans["cpu_ms"].append(1e3 * (time.thread_time() - cpu))
            spans["wall_ms"].append(1e3 * (time.perf_counter() - wall))
            # The peer follows what it needs to have the same state; its last frames are timed.
            if number == 0:
                started = time.thread_time()
                mask, thickness, *_ = peer.follow(frame.pixels, index / RATE_HZ)
                if index >= peer_from:
                    spans["opencv_ms"].append(1e3 * (time.thread_time() - started))
                answer = (mask, thickness)
            spans["memory_ms"].append(_copy_ms(source, target))
        if number == 0 and told is not None and answer is not None:
            mask, thickness = answer
            dice = _dice(told.mask, mask)
            ratio = float(told.thickness_mm.sum() / max(float(thickness.sum()), 1e-9))
            truth = _dice(told.mask, scene.open_mask(len(following) - 1))
    return {**spans, "dice": dice, "ratio": ratio, "truth": truth}


def _tracker(reference: ReferencePicture) -> NativeTracker:
    return NativeTracker(
        reference.attenuation,
        reference.valid,
        reference.variance,
        np.zeros_like(reference.attenuation),
        reference_frames=float(reference.frames),
        step=reference.scale.step,
        picture=reference.picture,
    )


def _look(frame: CementFrame) -> Look:
    return Look(
        time_s=frame.time_ns / 1e9 - 1000.0,
        least_contrast=_LEAST_MM * PER_MM,
        contrast_step=_CONTRAST_STEP,
        thickness_mm=_THICKNESS,
        memory_frames=_MEMORY,
    )


def _copy_ms(source: U8, target: U8) -> float:
    started = time.thread_time()
    np.copyto(target, source)
    return 1e3 * (time.thread_time() - started)


def _dice(a: U8, b: U8) -> float:
    both = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2.0 * int(np.count_nonzero(a & b)) / max(both, 1)
