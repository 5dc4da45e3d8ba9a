"""3D/3D registration beside SimpleITK's mutual information, on scans with a known motion."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.registration.values import IDENTITY, small_motion
from guidance.registration.volumes import register_volumes
from simulators.pelvis import ProceduralPelvis
from simulators.rescan import Modality, rescan
from simulators.volumes import HuVolume

CENTER = np.array([0.0, -5.0, -10.0])
MOTION = small_motion(np.array([3.0, -2.0, 4.0, 2.0, -3.0, 2.0]), CENTER)
SCAN = Modality(spacing_mm=(1.5, 1.5, 1.5), size=(90, 90, 80), noise_hu=20.0)


def itk_image(sitk, volume: HuVolume):
    image = sitk.GetImageFromArray(volume.voxels_hu.astype(np.float32))
    steps = np.linalg.norm(volume.affine_lps_from_ijk[:3, :3], axis=0)
    image.SetSpacing(steps.tolist())
    image.SetOrigin(volume.affine_lps_from_ijk[:3, 3].tolist())
    image.SetDirection((volume.affine_lps_from_ijk[:3, :3] / steps).ravel().tolist())
    return image


@pytest.mark.oracle
def test_mutual_information_finds_the_same_motion():
    """ITK's transform maps points of the fixed image to the moving one: M's inverse, which also holds our direction."""
    sitk = pytest.importorskip("SimpleITK")
    pelvis = ProceduralPelvis().volume(2.0, size_mm=(280.0, 200.0, 240.0))
    fixed = rescan(pelvis, SCAN, scan_from_patient=IDENTITY, center_lps_mm=CENTER, seed=1)
    moving = rescan(pelvis, SCAN, scan_from_patient=MOTION, center_lps_mm=CENTER, seed=2)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(50)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.1, seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 0.005, 150)
    method.SetOptimizerScalesFromPhysicalShift()
    transform = sitk.Euler3DTransform()
    transform.SetCenter(CENTER.tolist())
    method.SetInitialTransform(transform, inPlace=True)
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.Execute(itk_image(sitk, fixed), itk_image(sitk, moving))
    targets = CENTER + np.random.default_rng(0).uniform(-40.0, 40.0, (30, 3))
    theirs = np.array([transform.TransformPoint(point) for point in targets.tolist()])
    truth = targets @ MOTION[:3, :3].T + MOTION[:3, 3]
    found = register_volumes(
        fixed.voxels_hu, fixed.affine_lps_from_ijk, moving.voxels_hu, moving.affine_lps_from_ijk, start=IDENTITY
    )
    moving_from_fixed = np.linalg.inv(found.fixed_lps_from_moving_lps)
    ours = targets @ moving_from_fixed[:3, :3].T + moving_from_fixed[:3, 3]
    their_mm = np.linalg.norm(theirs - truth, axis=1).mean()
    our_mm = np.linalg.norm(ours - truth, axis=1).mean()
    # An independent program finds the same motion in the same direction, within its own error.
    assert their_mm < 0.5
    assert our_mm < 0.1
