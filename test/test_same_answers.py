"""The shipped weights give the answers that they gave before the modules got their rooms."""

from pathlib import Path

import numpy as np
import pytest

from justzoom_ros import Localizer, Tracker
from justzoom_ros.filtering import Motion
from justzoom_ros.maps.nadir_camera import NadirPose, look_down

REPO = Path(__file__).resolve().parents[1]
SAVED = np.load(Path(__file__).parent / 'data' / 'before_the_move.npz')
"""Made by the code below before the move: posteriors, fixes, and six tracked ones."""


@pytest.fixture(scope='module', params=['demo', 'city'])
def shipped(request):
    """(name, Localizer) of a shipped map with its weights."""
    folder = REPO / 'maps' / request.param
    weights = folder / 'weights.safetensors'
    return request.param, Localizer.open(folder, weights, 'cpu', registration=False)


def picture(map, number):
    """What a downward camera sees at a place that the number draws."""
    rng = np.random.default_rng(number)
    east, north = rng.uniform(-0.35, 0.35, 2) * map.region.side_m
    pose = NadirPose(east, north, rng.uniform(-3, 3), 120.0, 0.05, -0.03)
    return look_down(map.pixels, map.region.side_m, pose, (160, 120), 1.2)


@pytest.mark.parametrize('number', range(3))
def test_the_same_posterior_and_fix(shipped, number):
    name, localizer = shipped
    posterior = localizer.posterior(picture(localizer.map, number))
    np.testing.assert_array_equal(posterior.indices, SAVED[f'{name}_{number}_indices'])
    np.testing.assert_allclose(posterior.masses, SAVED[f'{name}_{number}_masses'], atol=1e-6)
    f = localizer.locate(picture(localizer.map, number))
    found = [f.latitude, f.longitude, *f.covariance_m2.ravel(), f.radius_90_m, f.confidence]
    found += [f.status == 'fix', len(f.hypotheses)]
    np.testing.assert_allclose(found, SAVED[f'{name}_{number}_fix'], rtol=1e-6, atol=1e-6)


def with_heading_vectors(rows):
    """Rows whose yaw and its deviation (columns 9 and 10) are the mean heading vector instead: of
    a belief that knows no heading the yaw is rounding, the vector is zero."""
    rows = np.array(rows)
    vector = np.exp(-(rows[:, 10] ** 2) / 2 + 1j * rows[:, 9])
    return np.column_stack([rows[:, :9], vector.real, vector.imag, rows[:, 11]])


def test_the_same_track(shipped):
    name, localizer = shipped
    tracker, rows = Tracker(localizer), []
    step = Motion(forward_m=8.0, left_m=0.5, turn_rad=0.1, distance_m=8.0)
    for number in range(6):
        f = tracker.locate_after(step if number else Motion(), picture(localizer.map, 10 + number))
        rows.append([f.latitude, f.longitude, *f.covariance_m2.ravel(), f.radius_90_m])
        rows[-1] += [f.confidence, f.status == 'fix', f.yaw_rad, f.yaw_std_rad, f.off_map]
    found, saved = with_heading_vectors(rows), with_heading_vectors(SAVED[f'{name}_track'])
    np.testing.assert_allclose(found, saved, rtol=1e-6, atol=1e-6)
