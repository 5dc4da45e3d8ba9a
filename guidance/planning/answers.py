"""What planning answers, as HTTP and `--json` carry it (contract 5.1 and 5.4); values only."""

from __future__ import annotations

from typing import Literal

import msgspec

from guidance.messages import Finding, Vector3, ZoneKind, ZoneSide, ZoneSite


class ZoneClearance(msgspec.Struct, frozen=True, kw_only=True):
    """How near a path's instrument comes to one zone.

    Attributes:
        min_distance_mm: from the instrument's surface (with its ablation zone, where it has one) to the zone's
            surface; negative inside.
        at_depth_mm: depth from the entry along the axis where that is.
        point_lps_mm: the zone's nearest surface point.
        permitted: this path may touch this zone; it may still be a leak site. Skin and needle track always are.
        ablation_distance_mm: of the ablation zones alone (or of the full balloon), so far as `min_distance_mm` is of
            the shaft; null where the instrument has none.
    """

    zone_id: str
    name: str
    site: ZoneSite
    side: ZoneSide | None
    kind: ZoneKind
    min_distance_mm: float
    at_depth_mm: float
    point_lps_mm: Vector3
    permitted: bool = False
    ablation_distance_mm: float | None = None


class PathClearance(msgspec.Struct, frozen=True, kw_only=True):
    """How near a path's instrument comes to another planned one; surfaces, negative where they meet."""

    path_id: str
    label: str
    min_distance_mm: float
    at_depth_mm: float
    point_lps_mm: Vector3


class BoneAlongTip(msgspec.Struct, frozen=True, kw_only=True):
    """HU along the last `length_mm` of the instrument, within its cross-section, where it would hold.

    Attributes:
        bone_part: part of the samples above the bone threshold, 0 to 1.
        preserved: whether that part lies in preserved bone; None where the volume does not say.
    """

    length_mm: float
    mean_hu: float
    sd_hu: float
    lowest_hu: float
    bone_part: float
    preserved: bool | None


class ApproachMatch(msgspec.Struct, frozen=True, kw_only=True):
    """Which approach template a drawn path is; `id` "" where none fits, `reason` says why or how well."""

    id: str
    name: str
    reason: str


class Clearance(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one path; null is "not known", and `findings` says why.

    Attributes:
        length_mm: entry to target.
        zones: every zone of the path's frame, nearest first.
        paths: every other planned object.
        bone_margin_mm: least distance of the instrument's surface to the bone's surface along its way through bone,
            the two ends aside; negative where it leaves the bone; null without bone.
        bone_source: what bone and skin were made of, and whether anybody has verified it; "" without bone.
        margin_mm: what is left all round: the least of `bone_margin_mm` and the distances to keep-out zones that are
            not permitted; null while bone is not known and nothing is hit: it would tell more room than there is.
        mediolateral_deg: angle in the axial plane to the sagittal plane, 0 straight to the front; positive towards the
            patient's left, walking from entry to target; [-180, 180].
        craniocaudal_deg: angle to the axial plane; positive towards the head; [-90, 90].
        suggested_length_mm: longest of a screw's or nail's lengths that does not pass the target, its head on the bone
            (on the entry where bone is not known); null for other instruments and where none fits.
        ablation_to_skin_mm: from the ablation zones to the skin's surface; negative where they pass it.
    """

    path_id: str
    length_mm: float
    diameter_mm: float
    zones: tuple[ZoneClearance, ...]
    paths: tuple[PathClearance, ...] = ()
    skin_to_bone_mm: float | None = None
    bone_to_target_mm: float | None = None
    target_to_far_cortex_mm: float | None = None
    bone_margin_mm: float | None = None
    bone_source: str = ""
    margin_mm: float | None = None
    tip_bone: BoneAlongTip | None = None
    mediolateral_deg: float
    craniocaudal_deg: float
    approach: ApproachMatch
    suggested_length_mm: float | None = None
    ablation_to_skin_mm: float | None = None
    findings: tuple[Finding, ...] = ()


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A C-arm pose worth going to, in DICOM positioner angles (relative to the patient).

    Attributes:
        reachable: within the model's limits and free of table and patient, as far as the model says.
        reason: why it stands where it stands in the list: what it lost by, or why it cannot be reached.
        zone_id: whose en face view it is; "" for the path's own.
        score: usefulness, 100 at best, 0 where it cannot be reached; `planning.view_scores` has the penalties.
        ideal_off_deg: how far it is off what it is for: off the path's or channel's axis, off perpendicular.
        equipment_deg: the same pose in the stand's own primary and secondary angle; null where the patient position
            is not known.
        detector_rotation_deg: patient-related rotation of the picture while the stand's detector is not turned: 180
            for a patient lying feet first.
        off_deg: angle between the present view of an input and this one; null without a trusted pose.
    """

    kind: Literal["bulls_eye", "progression", "en_face"]
    primary_deg: float
    secondary_deg: float
    reachable: bool
    reason: str
    zone_id: str = ""
    score: float = 0.0
    ideal_off_deg: float = 0.0
    equipment_deg: tuple[float, float] | None = None
    detector_rotation_deg: float = 0.0
    off_deg: float | None = None


class Views(msgspec.Struct, frozen=True, kw_only=True):
    """Views of one path, best first; `c_arm` is the model whose limits were used."""

    path_id: str
    c_arm: str
    patient_position: str
    views: tuple[View, ...]
    findings: tuple[Finding, ...] = ()


class Corridor(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a straight corridor through bone exists, and the best one found.

    Attributes:
        level: what was asked: `free`, `s1`, `s2` or `iliosacral`.
        exists: a screw of `diameter_mm` fits with at least `asked_margin_mm` all round.
        reason: why not, or what the answer rests on.
        entry_lps_mm, target_lps_mm: of the best corridor, also where it is too narrow; null where there is none at all.
        margin_mm: of that screw in the best corridor: least distance of its surface to the bone's surface along it,
            the two ends aside; negative where it does not fit.
        largest_diameter_mm: diameter at which the best corridor would exist with the asked margin; null without one.
        uncertainty_mm: half width of what grid and search leave open.
        side: side of the entry, for `iliosacral`.
    """

    level: str
    diameter_mm: float
    asked_margin_mm: float
    exists: bool
    reason: str
    entry_lps_mm: Vector3 | None
    target_lps_mm: Vector3 | None
    margin_mm: float | None
    largest_diameter_mm: float | None
    length_mm: float | None = None
    uncertainty_mm: float | None = None
    side: ZoneSide | None = None
    search_s: float | None = None
    findings: tuple[Finding, ...] = ()
