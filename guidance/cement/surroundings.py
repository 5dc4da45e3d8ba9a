"""What all inputs of a run share: settings, cements, the volume, and what these tell of a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guidance.cement.body_shadow import BINS, BodyProjector, BodyShadow
from guidance.cement.kept_views import KeptView
from guidance.cement.late_reference import LateReference, late_reference
from guidance.cement.opacity import Opacity
from guidance.cement.predicted_picture import PREDICTED_BINS
from guidance.cement.profiles import CementLibrary
from guidance.cement.reference import ReferencePicture
from guidance.cement.space import CementSpace, OpenSpace, opened
from guidance.cement.values import CementScene
from guidance.config import CementSettings
from guidance.errors import CaseError, GeometryError
from guidance.messages import CementMaterial
from guidance.tracking.known_metal import metal_mask


class Surroundings:
    """Shared by all eyes.

    Attributes:
        settings, library: as given.
        space: where cement can be; None: not known.
        projector: of the volume's attenuation; None: no volume.
    """

    def __init__(self, settings: CementSettings, library: CementLibrary) -> None:
        self.settings, self.library = settings, library
        self.space: OpenSpace | None = None
        self.projector: BodyProjector | None = None

    def set_space(self, space: CementSpace | None) -> None:
        """Another volume from now on; one that cannot be used is none."""
        self.space = self.projector = None
        if space is None:
            return
        try:
            self.space = opened(space)
        except GeometryError:
            return
        self.projector = BodyProjector(self.space)

    def opacity(self, material: CementMaterial, kvp: float | None, water_mm: float | None) -> Opacity | None:
        """Of a run's cement in a beam; None where the cement is not known."""
        try:
            return self.library.opacity(
                material,
                kvp=kvp,
                filtration_mm_al=self.settings.filtration_mm_al,
                filtration_mm_cu=self.settings.filtration_mm_cu,
                water_mm=water_mm,
            )
        except CaseError:
            return None  # a brand is refused at the start; without opacity the front is followed all the same

    def shadow(self, reference: ReferencePicture, bins: int = BINS) -> BodyShadow | None:
        """What the volume predicts of a pose; None without volume or geometry."""
        if self.projector is None or reference.pixel_from_patient is None:
            return None
        return self.projector.shadow(
            np.array(reference.pixel_from_patient, np.float64).reshape(3, 4),
            *reference.picture,
            bins=bins,
            kvp=reference.kvp,
            filtration_mm_al=self.settings.filtration_mm_al,
            filtration_mm_cu=self.settings.filtration_mm_cu,
        )

    def late(self, reference: ReferencePicture, scene: CementScene, views: Sequence[KeptView]) -> LateReference | None:
        """What of a reference taken after the start is cement; None where nothing tells."""
        body = self.shadow(reference, PREDICTED_BINS)
        if self.space is None or body is None:
            return None
        metal = None
        if scene.metal is not None and reference.pixel_from_patient is not None:
            matrix = np.array(reference.pixel_from_patient, np.float64).reshape(3, 4)
            metal = metal_mask(scene.metal, scene.paths, matrix, reference.picture)
        return late_reference(reference, body, self.space, views, scene.paths, scene.instruments, metal)
