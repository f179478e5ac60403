"""What calibration found of covariances, in the fixes that are published."""

from types import SimpleNamespace

import numpy as np
import pytest
from test_tracker import REGION, seen_from, world

from justzoom_ros.filtering import Motion
from justzoom_ros.inference.calibration import Calibration, Promise
from justzoom_ros.inference.fix import FixCriteria, FixStatus, make_fix
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.registrar import Registrar
from justzoom_ros.tracker import Tracker, TrackerConfig

VIEW = SimpleNamespace(tilt_std_m=2.0)
PROMISE = Promise('single', 100, 1000, 0.1, 0.05, 0.95, 0.01, 0, 0.03, {}, 'coins')


def tracked(calibration):
    """The fixes of a short drive whose frames all say where it is."""
    rng, place = np.random.default_rng(5), np.array([-200.0, -100.0])
    tracker = Tracker(world(calibration), TrackerConfig(likelihood_exponent=0.8))
    for number in range(20):
        step_m = 10.0 if number else 0.0
        tracker.predict(Motion(step_m, distance_m=step_m, duration_s=1.0))
        place = place + (step_m, 0.0)
        tracker.update(seen_from(place, rng, rivals=0))
        yield tracker.fix()


@pytest.mark.slow
def test_what_frames_share_is_added_after_the_factor():
    plain = list(tracked(Calibration()))
    calibrated = list(tracked(Calibration(covariance_scale=0.5, covariance_floor_m=3.0)))
    assert sum(fix.status is FixStatus.FIX for fix in plain) > 5
    for fix, other in zip(calibrated, plain, strict=True):
        expected = other.covariance_m2
        if other.status is FixStatus.FIX:
            expected = 0.5 * expected + 9.0 * np.eye(2)
        np.testing.assert_allclose(fix.covariance_m2, expected, rtol=1e-9)


def single(calibration, share=0.9, **criteria):
    """The fix of one registered frame that is sure of two cells, one above the other."""
    cells, leaves = np.array([0, 1, 255]), np.full(3, REGION.depth)
    masses = np.array([share / 2, share / 2, 1 - share])
    posterior = CellPosterior(REGION, leaves, cells, masses)
    made = SimpleNamespace(fix=lambda criteria: make_fix(posterior, criteria))
    registrar = SimpleNamespace(calibration=calibration, _sharpen=lambda view, fix: fix)
    criteria = FixCriteria(max_radius_m=1e4, **criteria)
    return Registrar.fix(registrar, VIEW, made, criteria)


def test_single_frames_have_a_factor_and_a_shared_error_of_their_own():
    tilt_m2 = VIEW.tilt_std_m**2 * np.eye(2)
    plain = single(Calibration()).covariance_m2 - tilt_m2
    fix = single(Calibration(covariance_scale=9.0, single_scale=0.25, single_floor_m=1.5))
    assert fix.status is FixStatus.FIX
    expected = 0.25 * plain + tilt_m2 + 1.5**2 * np.eye(2)
    np.testing.assert_allclose(fix.covariance_m2, expected)


@pytest.mark.parametrize(('gate', 'status'), [(0.85, 'fix'), (0.95, 'no_fix')])
def test_single_frames_pass_the_gate_of_what_is_promised_of_them(gate, status):
    promise = Promise(**{**vars(PROMISE), 'min_confidence': gate})
    assert single(Calibration(promises=(promise,))).status == status
    other = Promise(**{**vars(promise), 'group': 'tracking'})
    assert single(Calibration(promises=(other,))).status == 'fix'
    assert single(Calibration(promises=(promise,)), min_confidence=0.99).status == 'no_fix'
