"""Places for cement in a procedural pelvis: beside a foramen, in the first sacral body, in L5, above the hip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from guidance.messages import Vector3
from simulators.cement.patients import Patient
from simulators.cement.pelvis_ground import Ground, endplate_ring, triple
from simulators.cement.places import Place, Way, ball, chain, near, shell
from simulators.cement.zone_bodies import chain_body, slab_body, sphere_body, tube_body
from simulators.pelvis import JOINT_GAP_MM, L5_UP_MM
from simulators.pelvis_anatomy import HIP_CENTER, lumbar_point
from simulators.pelvis_shapes import Disc, Tube

_HEAD_MM: Final = 23.0  # the hip joint's ball
_EPIDURAL_MM: Final = 3.0  # cement spreads between dura and bone
_BLOB_MM: Final = 15.0


def sacral_ala(patient: Patient, side: str) -> Place:
    """Sacroplasty from behind, between the first foramen and the joint."""
    made = Ground(patient, side)
    at, pelvis = made.sacral, made.pelvis
    foramen = pelvis.foramina[f"S1 ventral {side}"]
    face = [(49.0, -2.0, 10.0), (50.5, -2.0, 28.0), (50.5, 10.0, 28.0), (49.0, 10.0, 10.0)]
    vein = [at(30, -6, 16), at(29, -15, 11), at(28, -21, 1), at(26, -25, -13), at(24, -29, -28)]
    bodies = [
        made.foramen_body("S1", side),
        made.foramen_body("S2", side),
        made.canal_body(at(0, 12, 20)),
        slab_body(
            f"SI joint {side}",
            "si_joint",
            side,
            [at(*corner) for corner in face],
            (made.sign, 0.0, 0.0),
            JOINT_GAP_MM,
            pelvis.sacrum_distance_mm,
        ),
        made.ventral_slab(f"ventral ala {side}", [(27, 8), (42, 8), (40, 32), (29, 32)], side),
        tube_body(f"iliolumbar vein {side}", "vein", side, vein[2:], 2.5),
    ]
    ways = (
        Way(
            kind="foramen",
            name=f"S1 foramen {side}",
            channel=Tube((at(31, -2, 23), at(24, -2, 27), at(17, -2, 30)), (2.4, 2.2, 2.0)),
            into=foramen.distance_mm,
            zone_name=f"S1 foramen {side}",
        ),
        Way(
            kind="si_joint",
            name=f"SI joint {side}",
            channel=chain([at(44, 2, 20), at(54.5, 4, 20)], 2.4),
            into=near(ball(at(51, 4, 20), 18.0), made.gap),
            into_hu=600.0,
            zone_name=f"SI joint {side}",
        ),
        Way(
            kind="ventral_surface",
            name=f"ventral ala {side}",
            channel=chain([at(33, -4, 20), at(33, -16, 20)], 2.2),
            into=near(ball(at(33, -14, 20), _BLOB_MM), made.over_sacrum),
            zone_name=f"ventral ala {side}",
        ),
        Way(kind="vein", name=f"iliolumbar vein {side}", channel=chain(vein, 1.5), zone_name=f"iliolumbar vein {side}"),
        Way(
            kind="soft_tissue",
            name=f"behind the ala {side}",
            channel=chain([at(30, 6, 14), at(27, 31, 11)], 2.0),
            into=near(ball(at(27, 28, 11), 13.0), made.over_sacrum),
        ),
    )
    return Place(
        name=f"sacral ala {side}",
        tip_lps_mm=at(35, -1, 20),
        hub_lps_mm=at(41, 115, 12),
        entry_lps_mm=at(36, 16, 18.9),
        zone_bodies=tuple(bodies),
        ways=ways,
    )


def first_sacral_body(patient: Patient, side: str) -> Place:
    """Through the pedicle into the body of S1."""
    made = Ground(patient, side)
    at, pelvis = made.sacral, made.pelvis
    foramen = pelvis.foramina[f"S1 ventral {side}"]
    disc_axis = np.subtract(lumbar_point(0, -1, 6.0), lumbar_point(0, -1, 4.0))
    disc = Disc(made.lumbar(0, -1, 5.2), 23.0, 15.0, 4.6, triple(disc_axis), 0.0)
    ring = [endplate_ring(made, angle) for angle in np.linspace(0.0, 2.0 * np.pi, 16, endpoint=False)]
    vein = [at(2, -2, 15), at(1, 7, 13), at(1, 9, 6), at(1, 8, -6), at(2, 8, -20)]
    bodies = [
        made.canal_body(at(0, 12, 12)),
        made.foramen_body("S1", "left"),
        made.foramen_body("S1", "right"),
        slab_body("disc L5/S1", "disc", "midline", ring, disc_axis, 8.0, pelvis.sacrum_distance_mm),
        made.ventral_slab("ventral S1", [(-15, 5), (15, 5), (15, 25), (-15, 25)], "midline"),
        tube_body("epidural vein", "vein", side, vein[2:], 2.2),
    ]
    ways = (
        Way(
            kind="canal",
            name="canal",
            channel=chain([at(5, -1, 14), at(4, 9, 15)], 2.2),
            into=near(ball(at(3, 8, 15), 32.0), shell(pelvis.canal.distance_mm, _EPIDURAL_MM)),
            zone_name="canal",
        ),
        Way(
            kind="foramen",
            name=f"S1 foramen {side}",
            channel=Tube((at(10, -4, 20), at(14, -3, 26), at(17, -2, 30)), (2.4, 2.2, 2.0)),
            into=foramen.distance_mm,
            zone_name=f"S1 foramen {side}",
        ),
        Way(
            kind="disc",
            name="disc L5/S1",
            channel=Tube((at(8, -5, 8), made.lumbar(8, -3, 3)), (2.4, 2.0)),
            into=disc.distance_mm,
            into_hu=500.0,
            zone_name="disc L5/S1",
        ),
        Way(
            kind="ventral_surface",
            name="ventral S1",
            channel=chain([at(6, -8, 16), at(5, -19, 17)], 2.2),
            into=near(ball(at(5, -17, 17), _BLOB_MM), made.over_sacrum),
            zone_name="ventral S1",
        ),
        Way(kind="vein", name="epidural vein", channel=chain(vein, 1.4), zone_name="epidural vein"),
    )
    return Place(
        name=f"S1 body {side}",
        tip_lps_mm=at(8, -4, 14),
        hub_lps_mm=at(46, 105, 4),
        entry_lps_mm=at(16.5, 20, 11.8),
        zone_bodies=tuple(bodies),
        ways=ways,
    )


def fifth_lumbar(patient: Patient, side: str) -> Place:
    """Vertebroplasty of L5 through the pedicle."""
    made = Ground(patient, side)
    at, up = made.lumbar, L5_UP_MM
    below = Disc(at(0, -1, 5.2), 23.0, 15.0, 4.6, triple(np.subtract(at(0, 0, 6), at(0, 0, 4))), 0.0)
    ring = [endplate_ring(made, angle, up_mm=1.2) for angle in np.linspace(0.0, 2.0 * np.pi, 16, endpoint=False)]
    nerve = Tube((at(9, 15, up - 15), at(17, 14, up - 13), at(30, 8, up - 15)), (4.0, 4.0, 4.5))
    vein = [at(12, -8, up), at(21, -17, up), at(30, -18, up + 4), at(33, -14, up + 16), at(34, -12, up + 30)]
    front = [at(x, -21.5, up + z) for x, z in ((-14, -9), (14, -9), (14, 9), (-14, 9))]
    bodies = [
        made.canal_body(at(0, 15, up)),
        chain_body(f"L5 foramen {side}", "foramen", side, nerve),
        slab_body("disc L5/S1", "disc", "midline", ring, np.subtract(at(0, 0, 6), at(0, 0, 4)), 8.0),
        slab_body("ventral L5", "ventral_surface", "midline", front, np.subtract(at(0, -40, up), at(0, -20, up)), 8.0),
        tube_body(f"lumbar vein {side}", "vein", side, vein[2:], 2.5),
    ]
    ways = (
        Way(
            kind="canal",
            name="canal",
            channel=chain([at(5, 4, up), at(3, 12, up)], 2.2),
            into=near(ball(at(0, 12, up), 30.0), shell(made.pelvis.canal.distance_mm, _EPIDURAL_MM)),
            zone_name="canal",
        ),
        Way(
            kind="foramen",
            name=f"L5 foramen {side}",
            channel=chain([at(10, 2, up - 6), at(15, 14, up - 13)], 2.4),
            into=nerve.distance_mm,
            zone_name=f"L5 foramen {side}",
        ),
        Way(
            kind="disc",
            name="disc L5/S1",
            channel=Tube((at(7, -3, up - 9), at(6, -2, 7)), (2.4, 2.0)),
            into=below.distance_mm,
            into_hu=500.0,
            zone_name="disc L5/S1",
        ),
        Way(kind="vein", name=f"lumbar vein {side}", channel=chain(vein, 1.5), zone_name=f"lumbar vein {side}"),
    )
    return Place(
        name=f"L5 body {side}",
        tip_lps_mm=at(7, -5, up + 1),
        hub_lps_mm=at(42, 105, up + 9),
        entry_lps_mm=at(16.5, 26, up + 3.4),
        zone_bodies=tuple(bodies),
        ways=ways,
    )


def above_the_hip(patient: Patient, side: str) -> Place:
    """The acetabular roof from the side and front, under a thin inner wall."""
    made = Ground(patient, side)

    def at(x: float, y: float, z: float) -> Vector3:
        return made.moved((made.sign * x, y, z))

    hip_x, hip_y, hip_z = HIP_CENTER
    bodies = [
        sphere_body(f"hip joint {side}", "other", side, at(hip_x, hip_y, hip_z), _HEAD_MM),
        tube_body(f"vessels {side}", "vein", side, [at(62, -48, -50), at(66, -62, -66), at(68, -74, -84)], 5.0),
    ]

    ways = (
        Way(
            kind="joint",
            name=f"hip joint {side}",
            channel=chain([at(93, -30, -66), at(91, -29, -80)], 2.2),
            into=near(ball(at(92, -30, -76), 18.0), shell(ball(at(hip_x, hip_y, hip_z), 26.5), 4.0), made.over_hip),
            into_hu=600.0,
            zone_name=f"hip joint {side}",
        ),
        Way(
            kind="soft_tissue",
            name=f"inner wall {side}",
            channel=chain([at(84, -31, -65), at(60, -31, -65)], 2.4),
            into=near(ball(at(61, -31, -65), _BLOB_MM), made.over_hip),
        ),
    )
    return Place(
        name=f"acetabular roof {side}",
        tip_lps_mm=at(94, -31, -65),
        hub_lps_mm=at(190, -60, -40),
        entry_lps_mm=at(106, -34.6, -61.9),
        zone_bodies=tuple(bodies),
        ways=ways,
    )


PLACES: Final[Mapping[str, Callable[[Patient], Place]]] = {
    "sacral ala left": lambda patient: sacral_ala(patient, "left"),
    "sacral ala right": lambda patient: sacral_ala(patient, "right"),
    "S1 body left": lambda patient: first_sacral_body(patient, "left"),
    "S1 body right": lambda patient: first_sacral_body(patient, "right"),
    "L5 body left": lambda patient: fifth_lumbar(patient, "left"),
    "L5 body right": lambda patient: fifth_lumbar(patient, "right"),
    "acetabular roof left": lambda patient: above_the_hip(patient, "left"),
    "acetabular roof right": lambda patient: above_the_hip(patient, "right"),
}
