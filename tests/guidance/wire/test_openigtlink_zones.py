"""Zones as POLYDATA: one mesh of triangles in RAS, and nothing that a receiver breaks on."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from guidance.errors import WireError
from guidance.messages import SphereShape, Zone, ZoneKind, ZoneSite
from guidance.planning.surface import ZoneSurface, surface_of_shape
from guidance.wire.openigtlink.bodies import PolyData
from guidance.wire.openigtlink.plan import zones_polydata
from guidance.wire.openigtlink.polydata import parse_polydata, write_polydata


def tetrahedron(corner_lps_mm: tuple[float, float, float]) -> ZoneSurface:
    vertices = np.array(corner_lps_mm) + np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
    triangles = np.array([(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)], np.int32)
    return ZoneSurface(vertices_lps_mm=vertices.astype(np.float32), triangles=triangles)


def zone(number: int) -> Zone:
    shape = SphereShape(center_lps_mm=(10.0, 20.0, 30.0), radius_mm=5.0)
    return Zone(id=f"Z{number}", name="n", site=ZoneSite.FORAMEN, kind=ZoneKind.KEEP_OUT, shape=shape)


def test_two_zones_are_one_mesh_in_ras() -> None:
    message = zones_polydata([(zone(1), tetrahedron((10, 20, 30))), (zone(2), tetrahedron((-1, 0, 0)))])
    assert message.device == "Zones"
    np.testing.assert_array_equal(message.points_ras_mm[0], (-10, -20, 30))
    np.testing.assert_array_equal(message.points_ras_mm[5], (0, 0, 0))
    content = write_polydata(message)
    # Ten numbers ahead: points, vertices and bytes, lines and bytes, polygons and bytes, strips and bytes, attributes.
    assert struct.unpack_from(">10I", content) == (8, 0, 0, 0, 0, 8, 8 * 16, 0, 0, 0)
    assert struct.unpack_from(">8I", content, 40 + 8 * 12 + 4 * 16) == (3, 4, 6, 5, 3, 4, 5, 7)
    read = parse_polydata(content, {"device": "Zones", "timestamp_igtl": 0})
    np.testing.assert_array_equal(read.points_ras_mm, message.points_ras_mm)
    assert read.polygons == tuple(tuple(cell) for cell in np.asarray(message.polygons).tolist())


def test_triangles_stay_outward() -> None:
    message = zones_polydata([(zone(1), surface_of_shape(zone(1).shape))])
    corners = np.asarray(message.points_ras_mm, np.float64)[np.asarray(message.polygons)]
    volume_ml = float(np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum()) / 6000
    assert volume_ml == pytest.approx(4 / 3 * np.pi * 5**3 / 1000, rel=0.02)
    np.testing.assert_allclose(corners.reshape(-1, 3).mean(axis=0), (-10, -20, 30), atol=0.1)


def test_no_zone_is_an_empty_mesh() -> None:
    content = write_polydata(zones_polydata([]))
    assert content == bytes(40)


@pytest.mark.parametrize("triangle", [(0, 1, 4), (0, -1, 2)])
def test_a_triangle_that_names_no_point_is_refused(triangle: tuple[int, int, int]) -> None:
    message = PolyData(
        device="Zones",
        timestamp_igtl=0,
        points_ras_mm=np.zeros((4, 3), np.float32),
        polygons=np.array([triangle], np.int32),
    )
    with pytest.raises(WireError, match="name none of 4 points"):
        write_polydata(message)
