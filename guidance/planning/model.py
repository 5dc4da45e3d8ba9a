"""One plan's working memory: fields and surfaces of zones, bone and skin, each worked out once and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from guidance.config import PlanningSettings
from guidance.errors import GeometryError
from guidance.messages import MaskShape, PlannedPath, Vector3, Zone, ZoneShape, ZoneSide, ZoneSite
from guidance.planning.answers import Clearance, Corridor, Views
from guidance.planning.bone import BoneModel, bone_model
from guidance.planning.c_arms import CArmModel
from guidance.planning.clearance import path_clearance
from guidance.planning.corridor import Level, search_corridor
from guidance.planning.distance import DistanceField, GridField, distance_field
from guidance.planning.instruments import InstrumentLibrary
from guidance.planning.occupancy import Occupancy
from guidance.planning.surface import ZoneSurface, surface_of_shape
from guidance.planning.views import path_views
from guidance.planning.volume import PlanningVolume

_FIELDS_KEPT: Final = 128  # of a few MB each; a plan has ten zones, a whole-body segmentation a hundred


# A whole body's organs: fine grids of all would be gigabytes.
_FAR_MOSTLY: Final = frozenset({ZoneSite.OTHER, ZoneSite.SKIN})


class ZoneFields:
    """Distance fields and surfaces by shape; may be asked from several threads.

    Args:
        load_mask: gives the voxels of a `MaskShape` by its `mask_id`; what it raises goes to who asked.
    """

    def __init__(self, load_mask: Callable[[str], Occupancy]) -> None:
        self._load_mask = load_mask
        self._lock = threading.Lock()
        self._fields: dict[ZoneShape, DistanceField] = {}

    def occupancy(self, shape: ZoneShape) -> Occupancy | None:
        """The voxels of a mask; None for a drawn shape."""
        return self._load_mask(shape.mask_id) if isinstance(shape, MaskShape) else None

    def field(self, shape: ZoneShape) -> DistanceField:
        """Signed distance to the zone's surface."""
        with self._lock:
            found = self._fields.pop(shape, None)
            if found is not None:
                self._fields[shape] = found  # the latest used stands last
                return found
        made = distance_field(shape, self.occupancy(shape))
        with self._lock:
            self._fields[shape] = made
            while len(self._fields) > _FIELDS_KEPT:
                del self._fields[next(iter(self._fields))]
        return made

    def prepare(self, zones: Sequence[Zone]) -> None:
        """Have distances to these zones answered quickly from now on; tenths of a second for each."""
        for zone in zones:
            _prepare(self.field(zone.shape), coarse_only=zone.site in _FAR_MOSTLY)

    def surface(self, shape: ZoneShape) -> ZoneSurface:
        """The zone's surface; not kept, for who shows it keeps it."""
        return surface_of_shape(shape, self.occupancy(shape))


class PlanningModel:
    """What questions about one volume's plan are answered from.

    Args:
        volume: None where there is none yet; then nothing is told of bone, skin and HU.
        fields: of zones, shared between volumes.
        library: instruments.
        c_arm: whose reach views are checked with.
        settings: section `planning`.
    """

    def __init__(
        self,
        volume: PlanningVolume | None,
        fields: ZoneFields,
        *,
        library: InstrumentLibrary,
        c_arm: CArmModel,
        settings: PlanningSettings,
    ) -> None:
        self.volume = volume
        self._fields = fields
        self._library = library
        self._c_arm = c_arm
        self._settings = settings
        self._bone: tuple[tuple[ZoneShape, ...], BoneModel | None] | None = None
        self._lock = threading.Lock()

    def bone(self, zones: Sequence[Zone]) -> BoneModel | None:
        """Bone and skin, worked out where they are not there yet (seconds); None without a volume or any bone in it."""
        if self.volume is None:
            return None
        with self._lock:
            if not self.bone_is_worked_out(zones):
                self._bone = (_bone_key(zones), self._bone_of(self.volume, zones))
            return self.known_bone(zones)

    def prepare(self, zones: Sequence[Zone]) -> BoneModel | None:
        """Work out everything that a drag needs: bone and skin, and grids of distances to them and to the zones."""
        self._fields.prepare(sorted(zones, key=lambda zone: zone.site in _FAR_MOSTLY))
        bone = self.bone(zones)
        if bone is not None:
            _prepare(bone.field)
            _prepare(bone.skin)
        return bone

    def bone_is_worked_out(self, zones: Sequence[Zone]) -> bool:
        """Whether `known_bone` tells all there is to know: None then means that there is none."""
        return self.volume is None or (self._bone is not None and self._bone[0] == _bone_key(zones))

    def known_bone(self, zones: Sequence[Zone]) -> BoneModel | None:
        """Bone and skin where they are there already."""
        bone = self._bone
        return bone[1] if bone is not None and bone[0] == _bone_key(zones) else None

    def clearance(
        self, path: PlannedPath, zones: Sequence[Zone], others: Sequence[PlannedPath], *, bone: BoneModel | None
    ) -> Clearance:
        """See `guidance.planning.clearance.path_clearance`."""
        return path_clearance(
            path,
            [(zone, self._fields.field(zone.shape)) for zone in zones],
            others,
            volume=self.volume,
            bone=bone,
            library=self._library,
            settings=self._settings,
        )

    def views(
        self, path: PlannedPath, zones: Sequence[Zone], *, patient_position: str, isocenter_lps_mm: Vector3 | None
    ) -> Views:
        """See `guidance.planning.views.path_views`."""
        return path_views(
            path,
            [(zone, self._fields.field(zone.shape)) for zone in zones],
            patient_position=patient_position,
            c_arm=self._c_arm,
            isocenter_lps_mm=isocenter_lps_mm,
        )

    def corridor(
        self,
        zones: Sequence[Zone],
        *,
        level: Level,
        diameter_mm: float,
        margin_mm: float,
        side: ZoneSide | None,
        progress: Callable[[float], None] | None = None,
    ) -> Corridor:
        """See `guidance.planning.corridor.search_corridor`; the volume must be there."""
        assert self.volume is not None
        return search_corridor(
            self.volume,
            [(zone, self._fields.field(zone.shape), self._fields.occupancy(zone.shape)) for zone in zones],
            level=level,
            diameter_mm=diameter_mm,
            margin_mm=margin_mm,
            side=side,
            progress=progress,
            bone=self.bone(zones),
        )

    def _bone_of(self, volume: PlanningVolume, zones: Sequence[Zone]) -> BoneModel | None:
        fields = [
            (zone, self._fields.field(zone.shape), self._fields.occupancy(zone.shape))
            for zone in zones
            if zone.site is ZoneSite.BONE
        ]
        try:
            return bone_model(volume.voxels_hu, volume.affine_lps_from_ijk, fields)
        except GeometryError as error:
            if error.code != "no_bone":
                raise
            return None  # distances to the zones are known all the same


def _prepare(field: DistanceField | None, *, coarse_only: bool = False) -> None:
    if isinstance(field, GridField):
        field.prepare(coarse_only=coarse_only)


def _bone_key(zones: Sequence[Zone]) -> tuple[ZoneShape, ...]:
    return tuple(zone.shape for zone in zones if zone.site is ZoneSite.BONE)
