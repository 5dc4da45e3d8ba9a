"""RTK's cone-beam geometry as an independent judge; run by `make test-oracle`."""

import json
import subprocess
import sys

import numpy as np
import pytest

from guidance.geometry.camera import ConeBeamCamera, project
from guidance.geometry.detector import Detector
from guidance.geometry.positioner import CArmPose

# RTK (IEC 61217): y is the rotation axis, z points to the source at gantry 0, u runs along x and v along y.
# With the patient's back towards the source at 0/0 that is x = left, y = feet, z = back.
RTK_FROM_LPS = np.array(((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)))

# In a process of its own: under pytest's "warnings are errors" ITK's modules crash while they are loaded.
ASK_RTK = """
import json, sys
import itk
from itk import RTK
answers = []
for arguments in json.load(sys.stdin):
    geometry = RTK.ThreeDCircularProjectionGeometry.New()
    geometry.AddProjection(*arguments)
    answers.append(itk.array_from_matrix(geometry.GetMatrix(0)).tolist())
json.dump(answers, sys.stdout)
"""


def rtk_matrices(arguments: list[list[float]]) -> np.ndarray:
    """(N, 3, 4): point in RTK's fixed system -> mm on the detector, for N lists of `AddProjection` arguments."""
    answer = subprocess.run(
        [sys.executable, "-c", ASK_RTK], input=json.dumps(arguments), capture_output=True, text=True, timeout=120
    )
    assert answer.returncode == 0, f"RTK did not answer (is itk-rtk installed? `make test-oracle`): {answer.stderr}"
    return np.array(json.loads(answer.stdout))


@pytest.mark.oracle
def test_rtk_projects_the_same():
    """Both angles and the detector's turn go about the same axes in the opposite sense; all else is the same."""
    rng = np.random.default_rng(20)
    cases = []
    for _ in range(300):
        primary, secondary, rotation = rng.uniform((-180, -80, -180), (180, 80, 180)).tolist()
        sid, sod = float(rng.uniform(950, 1400)), float(rng.uniform(600, 850))
        offset_u_mm, offset_v_mm = rng.uniform(-40, 40, 2).tolist()
        cases.append((primary, secondary, rotation, sid, sod, offset_u_mm, offset_v_mm))
    matrices = rtk_matrices([[sod, sid, -p, u_mm, v_mm, -s, -r, 0.0, 0.0] for p, s, r, sid, sod, u_mm, v_mm in cases])
    worst_px = 0.0
    for (primary, secondary, rotation, sid, sod, offset_u_mm, offset_v_mm), matrix in zip(cases, matrices, strict=True):
        pitch_row, pitch_column = rng.uniform(0.15, 0.5, 2).tolist()
        points = rng.uniform(-120, 120, (30, 3))
        homogeneous = np.column_stack((points @ RTK_FROM_LPS.T, np.ones(30))) @ matrix.T
        # RTK's detector is moved by the offset, its own origin with it: the central ray meets it at -offset.
        plane_mm = homogeneous[:, :2] / homogeneous[:, 2:]
        expected = plane_mm / (pitch_column, pitch_row) + (511.5, 383.5)
        camera = ConeBeamCamera(
            pose=CArmPose(
                primary_angle_deg=primary,
                secondary_angle_deg=secondary,
                source_to_detector_mm=sid,
                source_to_isocenter_mm=sod,
                detector_rotation_deg=rotation,
            ),
            detector=Detector(
                rows=768,
                columns=1024,
                pitch_row_mm=pitch_row,
                pitch_column_mm=pitch_column,
                principal_point_px=(511.5 - offset_u_mm / pitch_column, 383.5 - offset_v_mm / pitch_row),
            ),
        )
        found = project(points, camera.pixel_from_patient)[:, :2]
        worst_px = max(worst_px, float(np.abs(found - expected).max()))
    assert worst_px < 1e-8
