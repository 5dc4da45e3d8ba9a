"""Files of zones by their content: what a label map's numbers are taken to mean, and what is said of it."""

from __future__ import annotations

import json
from typing import Any

import nibabel
import numpy as np
import pytest

from guidance.case import BadFieldsError
from guidance.messages import TubeShape, ZoneSite
from guidance.wire.zone_files import is_markups, read_drawn_zones, read_zone_file


def _label_map() -> bytes:
    labels = np.zeros((8, 8, 8), np.int16)
    labels[2:5, 2:5, 2:5] = 1
    return nibabel.Nifti1Image(labels, np.diag([2.0, 2.0, 2.0, 1.0])).to_bytes()


def _markups(*markups: dict[str, Any]) -> bytes:
    return json.dumps({"@schema": "", "markups": markups}).encode()


def _points(kind: str, name: str, description: str) -> dict[str, Any]:
    positions = [[10.0, 20.0, 30.0], [10.0, 20.0, 60.0]]
    points = [{"label": f"{name}-{n}", "description": description, "position": at} for n, at in enumerate(positions)]
    return {"type": kind, "name": name, "coordinateSystem": "RAS", "coordinateUnits": "mm", "controlPoints": points}


def test_drawn_zones_of_a_markups_file_and_what_is_none_there() -> None:
    data = _markups(_points("Curve", "S1 foramen left", "r=4 mm"), _points("Line", "screw", "d=7.3 mm"))
    assert is_markups(data)
    assert is_markups(b"\xef\xbb\xbf\n " + data)
    (zone,), findings = read_drawn_zones(data, origin="a.mrk.json")
    assert zone.shape == TubeShape(points_lps_mm=((-10, -20, 30), (-10, -20, 60)), radius_mm=4)
    assert (zone.name, zone.site, zone.origin) == ("S1 foramen left", ZoneSite.FORAMEN, "markups")
    assert any(finding.code == "no_zone" and "screw" in finding.message for finding in findings)


def test_a_markups_file_without_a_zone_is_refused_with_the_mend() -> None:
    with pytest.raises(BadFieldsError, match="POST /markups"):
        read_drawn_zones(_markups(_points("Line", "screw", "d=7.3 mm")), origin="a.mrk.json")
    assert not is_markups(_label_map())


def test_an_empty_names_table_names_nothing() -> None:
    read = read_zone_file(_label_map(), origin="labels.nii", names={})
    (zone,) = read.zones
    assert (zone.name, zone.site) == ("label 1", ZoneSite.OTHER)
    assert [finding.code for finding in read.findings] == ["unnamed_label"]


def test_a_table_that_is_assumed_is_said_to_be_assumed() -> None:
    read = read_zone_file(_label_map(), origin="labels.nii")
    assert read.zones[0].name == "spleen"
    assert any("labels.nii" in finding.message for finding in read.findings)
