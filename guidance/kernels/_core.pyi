"""
Native kernels of the guidance server; the documented face is guidance.kernels.
"""

from typing import Any, overload

import numpy
import numpy.typing

TILE_ROWS: int = 16

TILE_COLUMNS: int = 32

def instruction_set() -> str: ...
def crc64(data: numpy.typing.NDArray[numpy.uint8], crc: int = 0) -> int: ...
def crc64_with(variant: str, data: numpy.typing.NDArray[numpy.uint8], crc: int = 0) -> int: ...
def crc64_variants() -> list[str]: ...
def crc64_zeros(crc: int, size: int) -> int: ...
def crc64_combine(crc_a: int, crc_b: int, length_b: int) -> int: ...
def project_points(
    points_mm: numpy.typing.NDArray[numpy.float64],
    pixel_from_patient: numpy.typing.NDArray[numpy.float64],
    out: numpy.typing.NDArray[numpy.float64],
) -> None: ...
def window_levels(pixels: numpy.typing.NDArray[Any]) -> tuple[float, float]: ...
def grey8(
    pixels: numpy.typing.NDArray[Any], low: float, high: float, step: int, out: numpy.typing.NDArray[numpy.uint8]
) -> None: ...
def compose_frame(
    pixels: numpy.typing.NDArray[Any],
    low: float,
    high: float,
    strokes: numpy.typing.NDArray[numpy.float32],
    sprites: numpy.typing.NDArray[numpy.uint8],
    sprite_table: numpy.typing.NDArray[numpy.int32],
    rgb_out: numpy.typing.NDArray[numpy.uint8],
    layer: numpy.typing.NDArray[numpy.uint8],
    dirty: numpy.typing.NDArray[numpy.uint8],
    under: int = 0,
) -> tuple[int, int]: ...

class ConeVolumeInt16:
    def __init__(self, voxels: numpy.typing.NDArray[numpy.int16], nothing: int) -> None: ...
    def project(
        self,
        pixel_from_patient: numpy.typing.NDArray[numpy.float64],
        affine_lps_from_ijk: numpy.typing.NDArray[numpy.float64],
        knots: numpy.typing.NDArray[numpy.float32],
        coefficients: numpy.typing.NDArray[numpy.float32],
        origin_u: float,
        origin_v: float,
        step_px: float,
        threads: int,
        method: int,
        isa: int,
        out: numpy.typing.NDArray[numpy.float32],
    ) -> None: ...
    def choose(
        self,
        pixel_from_patient: numpy.typing.NDArray[numpy.float64],
        affine_lps_from_ijk: numpy.typing.NDArray[numpy.float64],
        knots: numpy.typing.NDArray[numpy.float32],
        coefficients: numpy.typing.NDArray[numpy.float32],
        origin_u: float,
        origin_v: float,
        step_px: float,
        method: int,
        rows: int,
        columns: int,
    ) -> tuple[bool, str]: ...

class ConeVolumeFloat32:
    def __init__(self, voxels: numpy.typing.NDArray[numpy.float32], nothing: float) -> None: ...
    def project(
        self,
        pixel_from_patient: numpy.typing.NDArray[numpy.float64],
        affine_lps_from_ijk: numpy.typing.NDArray[numpy.float64],
        knots: numpy.typing.NDArray[numpy.float32],
        coefficients: numpy.typing.NDArray[numpy.float32],
        origin_u: float,
        origin_v: float,
        step_px: float,
        threads: int,
        method: int,
        isa: int,
        out: numpy.typing.NDArray[numpy.float32],
    ) -> None: ...
    def choose(
        self,
        pixel_from_patient: numpy.typing.NDArray[numpy.float64],
        affine_lps_from_ijk: numpy.typing.NDArray[numpy.float64],
        knots: numpy.typing.NDArray[numpy.float32],
        coefficients: numpy.typing.NDArray[numpy.float32],
        origin_u: float,
        origin_v: float,
        step_px: float,
        method: int,
        rows: int,
        columns: int,
    ) -> tuple[bool, str]: ...

@overload
def box_average(
    voxels: numpy.typing.NDArray[numpy.int16],
    factor_k: int,
    factor_j: int,
    factor_i: int,
    nothing: int,
    out: numpy.typing.NDArray[numpy.int16],
) -> None: ...
@overload
def box_average(
    voxels: numpy.typing.NDArray[numpy.float32],
    factor_k: int,
    factor_j: int,
    factor_i: int,
    nothing: float,
    out: numpy.typing.NDArray[numpy.float32],
) -> None: ...
def cement_bins(
    pixels: numpy.typing.NDArray[Any],
    step: int,
    scale: numpy.typing.NDArray[numpy.float64],
    field: numpy.typing.NDArray[numpy.int32],
    attenuation: numpy.typing.NDArray[numpy.float32],
    valid: numpy.typing.NDArray[numpy.uint8],
) -> tuple[float, float]: ...
def cement_warp(
    frame: numpy.typing.NDArray[numpy.float32],
    valid: numpy.typing.NDArray[numpy.uint8],
    du: float,
    dv: float,
    turn: float,
    out: numpy.typing.NDArray[numpy.float32],
    out_valid: numpy.typing.NDArray[numpy.uint8],
) -> None: ...
def cement_contours(
    field: numpy.typing.NDArray[numpy.float32],
) -> tuple[tuple[numpy.typing.NDArray[numpy.float64], ...], float]: ...

class CementAlignment:
    def __init__(
        self,
        reference: numpy.typing.NDArray[numpy.float32],
        valid: numpy.typing.NDArray[numpy.uint8],
        variance: numpy.typing.NDArray[numpy.float32],
    ) -> None: ...
    def fit(
        self,
        frame: numpy.typing.NDArray[numpy.float32],
        valid: numpy.typing.NDArray[numpy.uint8],
        du: float = 0.0,
        dv: float = 0.0,
        turn: float = 0.0,
    ) -> tuple[float, float, float, float, float, float]: ...

class CementTracker:
    def __init__(
        self,
        step: int,
        reference_frames: float,
        jitter: float,
        reference: numpy.typing.NDArray[numpy.float32],
        valid: numpy.typing.NDArray[numpy.uint8],
        variance: numpy.typing.NDArray[numpy.float32],
        share: numpy.typing.NDArray[numpy.float32],
    ) -> None: ...
    def resume(self) -> None: ...
    def already(self, marks: numpy.typing.NDArray[numpy.uint8]) -> None: ...
    def steel(self, capsules: numpy.typing.NDArray[numpy.float64], held_mm: float = 0.0) -> bool: ...
    def follow(
        self,
        pixels: numpy.typing.NDArray[Any],
        scale: numpy.typing.NDArray[numpy.float64],
        field: numpy.typing.NDArray[numpy.int32],
        look: numpy.typing.NDArray[numpy.float64],
        thickness: numpy.typing.NDArray[numpy.float32],
        instruments: numpy.typing.NDArray[numpy.float64],
        cannulas: numpy.typing.NDArray[numpy.float64],
        expected: numpy.typing.NDArray[numpy.uint8] | None,
        mask: numpy.typing.NDArray[numpy.uint8],
        blind: numpy.typing.NDArray[numpy.uint8],
        grown: numpy.typing.NDArray[numpy.uint8],
        thickness_map: numpy.typing.NDArray[numpy.float32],
        arrival: numpy.typing.NDArray[numpy.float32],
        speed: numpy.typing.NDArray[numpy.float32],
        box: numpy.typing.NDArray[numpy.int32],
    ) -> tuple[
        int,
        float,
        float,
        float,
        float,
        float,
        float,
        float,
        float,
        float,
        float,
        float,
        int,
        bool,
        tuple[numpy.typing.NDArray[numpy.float64], ...],
    ]: ...

class CementBody:
    def __init__(self) -> None: ...
    def fit(
        self,
        prior: numpy.typing.NDArray[numpy.float32],
        counted: numpy.typing.NDArray[numpy.uint8],
        first_lps_mm: numpy.typing.NDArray[numpy.float64],
        spacing_mm: float,
        views: list[
            tuple[
                numpy.typing.NDArray[numpy.float64],
                numpy.typing.NDArray[numpy.float32],
                numpy.typing.NDArray[numpy.uint8],
                numpy.typing.NDArray[numpy.float32],
                float,
                bool,
            ]
        ],
        rounds: int,
        sharpenings: int,
        share: numpy.typing.NDArray[numpy.float32],
        possible: numpy.typing.NDArray[numpy.uint8],
        volumes_mm3: numpy.typing.NDArray[numpy.float64],
    ) -> None: ...

class CorridorLines:
    def __init__(
        self,
        solid: numpy.typing.NDArray[numpy.float32],
        origin: tuple[float, float, float],
        spacing_mm: float,
        reach_plus: numpy.typing.NDArray[numpy.float32] | None,
        reach_minus: numpy.typing.NDArray[numpy.float32] | None,
        gate: numpy.typing.NDArray[numpy.float32] | None,
    ) -> None: ...
    def measure(
        self,
        rules: tuple[float, ...],
        charts: numpy.typing.NDArray[numpy.float64],
        lines: numpy.typing.NDArray[numpy.float64],
        threads: int,
        out: numpy.typing.NDArray[numpy.float64],
    ) -> None: ...
    def bound(
        self,
        rules: tuple[float, ...],
        charts: numpy.typing.NDArray[numpy.float64],
        lines: numpy.typing.NDArray[numpy.float64],
        cutoff_mm: float,
        threads: int,
        out: numpy.typing.NDArray[numpy.float64],
    ) -> None: ...

def isosurface(
    mask: numpy.typing.NDArray[numpy.uint8], lps_from_ijk: numpy.typing.NDArray[numpy.float64], level: float
) -> tuple[numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.int32]]: ...
def simplified(
    points: numpy.typing.NDArray[numpy.float64],
    triangles: numpy.typing.NDArray[numpy.int32],
    most_triangles: int,
    deviation_mm: float,
    smoothing: int,
    smoothing_mm: float,
) -> tuple[numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.int32]]: ...

class SurfaceTree:
    def __init__(
        self, points: numpy.typing.NDArray[numpy.float64], triangles: numpy.typing.NDArray[numpy.int32]
    ) -> None: ...
    def nearest(
        self,
        points: numpy.typing.NDArray[numpy.float64],
        places: numpy.typing.NDArray[numpy.float64],
        distances: numpy.typing.NDArray[numpy.float64],
    ) -> None: ...
    def fill(
        self,
        mask: numpy.typing.NDArray[numpy.uint8],
        ijk_from_lps: numpy.typing.NDArray[numpy.float64],
        level: float,
        trusted_mm: float,
        origin: tuple[float, float, float],
        spacing_mm: float,
        threads: int,
        out: numpy.typing.NDArray[numpy.float32],
    ) -> None: ...
    def sample(
        self,
        inner: numpy.typing.NDArray[numpy.float32],
        inner_place: tuple[float, float, float, float],
        outer: numpy.typing.NDArray[numpy.float32],
        outer_place: tuple[float, float, float, float],
        points: numpy.typing.NDArray[numpy.float64],
        out: numpy.typing.NDArray[numpy.float64],
    ) -> None: ...

def sample_strip(
    pixels: numpy.typing.NDArray[Any],
    starts: numpy.typing.NDArray[numpy.float64],
    steps: numpy.typing.NDArray[numpy.float64],
    columns: int,
    bins: tuple[int, int],
    bounds: tuple[float, float, float, float],
    logarithm: bool,
    sign: int,
    out: numpy.typing.NDArray[numpy.float32],
) -> None: ...

ROD_NUMBERS: int = 17

def rods_along(
    pixels: numpy.typing.NDArray[Any],
    bounds: tuple[float, float, float, float],
    logarithm: bool,
    sign: int,
    numbers: numpy.typing.NDArray[numpy.float64],
    shape: tuple[int, int],
    bins: tuple[int, int],
    metal: numpy.typing.NDArray[numpy.uint8] | None,
    least: float,
    least_of_range: float,
    out: numpy.typing.NDArray[numpy.float64],
) -> int: ...
def ridge_tracks(
    strip: numpy.typing.NDArray[numpy.float32],
    width_columns: numpy.typing.NDArray[numpy.float64],
    unknown: numpy.typing.NDArray[numpy.bool_] | None,
    least: float,
    tracks: numpy.typing.NDArray[numpy.int32],
    scores: numpy.typing.NDArray[numpy.float64],
) -> tuple[int, float]: ...

TUBE_STROKES: int = 301

def tube_strokes(
    tubes: numpy.typing.NDArray[numpy.float64],
    tick_depth_mm: numpy.typing.NDArray[numpy.float64],
    tick_ends: numpy.typing.NDArray[numpy.int64],
    colors: numpy.typing.NDArray[numpy.uint8],
    pixel_from_patient: numpy.typing.NDArray[numpy.float64],
    line_width_px: float,
    scale: float,
    strokes: numpy.typing.NDArray[numpy.float32],
    summary: numpy.typing.NDArray[numpy.float64],
) -> int: ...
def label_spots(
    summary: numpy.typing.NDArray[numpy.float64],
    sizes: numpy.typing.NDArray[numpy.int32],
    boxes: numpy.typing.NDArray[numpy.int32],
    rows: int,
    columns: int,
    gap_px: float,
    spots: numpy.typing.NDArray[numpy.int32],
) -> None: ...

class ShadowMesh:
    def __init__(
        self, vertices_lps_mm: numpy.typing.NDArray[numpy.float32], triangles: numpy.typing.NDArray[numpy.int32]
    ) -> None: ...
    @property
    def edges(self) -> int: ...
    @property
    def triangles(self) -> int: ...

def silhouette_strokes(
    meshes: list[ShadowMesh],
    colors: numpy.typing.NDArray[numpy.uint8],
    pixel_from_patient: numpy.typing.NDArray[numpy.float64],
    line_width_px: float,
    rows: int,
    columns: int,
    summary: numpy.typing.NDArray[numpy.float64],
) -> numpy.typing.NDArray[numpy.float32]: ...

class WatchVolume:
    def __init__(
        self, voxels: numpy.typing.NDArray[numpy.int16], lps_from_ijk: numpy.typing.NDArray[numpy.float64]
    ) -> None: ...
    def project(
        self,
        pixel_from_lps: numpy.typing.NDArray[numpy.float64],
        origin_u: float,
        origin_v: float,
        step_px: float,
        depth_mm: float,
        sums: numpy.typing.NDArray[numpy.float32],
        moments: numpy.typing.NDArray[numpy.float32],
    ) -> None: ...

def watch_bins(
    pixels: numpy.typing.NDArray[Any],
    step: int,
    logarithm: bool,
    bright: bool,
    attenuation: numpy.typing.NDArray[numpy.float32],
    valid: numpy.typing.NDArray[numpy.float32],
) -> float: ...
def watch_layer(
    attenuation: numpy.typing.NDArray[numpy.float32],
    valid: numpy.typing.NDArray[numpy.float32],
    mean_radius: int,
    contrast_radius: int,
    floor: float,
    metal: float,
    metal_rounds: int,
    normalised: numpy.typing.NDArray[numpy.float32],
    core: numpy.typing.NDArray[numpy.float32],
    contrast: numpy.typing.NDArray[numpy.float32],
) -> tuple[float, float, float]: ...
def watch_template(
    sums: numpy.typing.NDArray[numpy.float32],
    moments: numpy.typing.NDArray[numpy.float32],
    pixel_from_lps: numpy.typing.NDArray[numpy.float64],
    pivot_lps_mm: numpy.typing.NDArray[numpy.float64],
    origin_u: float,
    origin_v: float,
    step_px: float,
    depth_mm: float,
    mean_radius: int,
    contrast_radius: int,
    floor: float,
    planes: numpy.typing.NDArray[numpy.float32],
) -> float: ...
def watch_fit(
    picture: numpy.typing.NDArray[numpy.float32],
    valid: numpy.typing.NDArray[numpy.float32],
    planes: numpy.typing.NDArray[numpy.float32],
    prior: numpy.typing.NDArray[numpy.float64],
    rounds: int,
    cut: float,
    parameters: numpy.typing.NDArray[numpy.float64],
    normal: numpy.typing.NDArray[numpy.float64],
) -> tuple[float, float, float, float, float, float]: ...
def watch_shift(
    picture: numpy.typing.NDArray[numpy.float32],
    valid: numpy.typing.NDArray[numpy.float32],
    weight: numpy.typing.NDArray[numpy.float32],
    projection: numpy.typing.NDArray[numpy.float32],
    reach: int,
) -> tuple[int, int, float]: ...
