"""Files of zones by their content: what a label map's numbers are taken to mean, and what is said of it."""

from __future__ import annotations

import nibabel
import numpy as np

from guidance.messages import ZoneSite
from guidance.wire.zone_files import read_zone_file


def _label_map() -> bytes:
    labels = np.zeros((8, 8, 8), np.int16)
    labels[2:5, 2:5, 2:5] = 1
    return nibabel.Nifti1Image(labels, np.diag([2.0, 2.0, 2.0, 1.0])).to_bytes()


def test_an_empty_names_table_names_nothing() -> None:
    read = read_zone_file(_label_map(), origin="labels.nii", names={})
    (zone,) = read.zones
    assert (zone.name, zone.site) == ("label 1", ZoneSite.OTHER)
    assert [finding.code for finding in read.findings] == ["unnamed_label"]


def test_a_table_that_is_assumed_is_said_to_be_assumed() -> None:
    read = read_zone_file(_label_map(), origin="labels.nii")
    assert read.zones[0].name == "spleen"
    assert any("labels.nii" in finding.message for finding in read.findings)
