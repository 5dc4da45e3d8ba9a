"""What following cement is given with each frame."""

from __future__ import annotations

from dataclasses import dataclass

from guidance.cement.space import CementSpace
from guidance.consistency.volume import WatchVolume
from guidance.geometry.intensity import PixelIntensity
from guidance.messages import Matrix34, Pixels, PlannedPath, Vector3
from guidance.overlay.zones import NO_ZONES, ZonesOnPicture
from guidance.tracking.known_metal import KnownMetal
from guidance.tracking.values import SeenInstrument


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CementFrame:
    """One live frame.

    Attributes:
        device, sequence, frame_number, received_ns: as of the `FluoroFrame`.
        time_ns: when it was taken, by the sender's clock where that is sound, on the server's monotonic scale; only
            differences between frames of one device are exact.
        pixels: (rows, columns), never altered.
        intensity: what the numbers mean.
        collimator_px: left, top, right, bottom of the open field as told; None: not told, it is found.
        kvp: tube voltage as told; None: not told.
        pixel_from_patient: (3, 4) row-major, volume's LPS mm to px, of trusted or degraded geometry; else None.
        isocenter_lps_mm: in the volume's frame; what is told, else the volume's.
        pose: the same as it is told, whatever registration holds: as long as it is the same nothing has moved; None
            like the former.
        steady: the input's frame before was drawn in the same pose, so this one's geometry may go into the body.
    """

    device: str
    sequence: int
    frame_number: int | None
    received_ns: int
    time_ns: int
    pixels: Pixels
    intensity: PixelIntensity
    collimator_px: tuple[int, int, int, int] | None = None
    kvp: float | None = None
    pixel_from_patient: Matrix34 | None = None
    isocenter_lps_mm: Vector3 = (0.0, 0.0, 0.0)
    pose: Matrix34 | None = None
    steady: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CementScene:
    """What is known around the cement; zones, small volume and space are the same objects while they do not change.

    Attributes:
        zones: with their surfaces.
        watch: the small volume that frames are held against; None without one.
        space: where cement can be in the volume; None without one, or not yet known.
        paths: planned paths, along which cannulas lie.
        instruments: seen in this very frame.
        metal: of the volume, for a search of instruments in earlier frames; None: they are not searched.
        epoch: of the registration that the frame's geometry is by; another one: the patient lies elsewhere in it.
    """

    zones: ZonesOnPicture = NO_ZONES
    watch: WatchVolume | None = None
    space: CementSpace | None = None
    paths: tuple[PlannedPath, ...] = ()
    instruments: tuple[SeenInstrument, ...] = ()
    metal: KnownMetal | None = None
    epoch: int = 0
