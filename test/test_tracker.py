"""A robot that moves: what it knows after many frames, and what it does not look at."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_search import dense, setup
from tiny import make_map, make_weights

from justzoom_ros import Localizer, Region
from justzoom_ros.errors import ConfigError
from justzoom_ros.evaluation.sequence_calibration import Observation, fit_covariance, fit_exponent
from justzoom_ros.filtering import Motion
from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.inference.fix import FixCriteria
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.inference.tree_search import search
from justzoom_ros.maps.map_offset import MapOffset
from justzoom_ros.pose import Pose
from justzoom_ros.tracker import Tracker, TrackerConfig

REGION = Region(latitude=48.0, longitude=11.0, side_m=640.0, grid=4, depth=3)
CELLS = REGION.branching**REGION.depth


def world(calibration=None):
    """What a tracker needs of a localizer, over the whole of REGION."""
    return SimpleNamespace(
        region=REGION,
        covered=np.ones(CELLS, bool),
        calibration=calibration or Calibration(),
        criteria=FixCriteria(),
        registrar=None,
        zoom=None,
        map_offset=MapOffset(),
        correct=lambda fix, criteria: fix,
    )


def seen_from(place_m, rng, sigma_m=30.0, rivals=3):
    """A frame that fits its own place and `rivals` others as well."""
    centers = REGION.centers(REGION.depth)
    masses = np.full(CELLS, 1e-6)
    for spot in [place_m, *rng.uniform(-300, 300, (rivals, 2))]:
        off = ((centers - spot - rng.normal(0, sigma_m / 2, 2)) ** 2).sum(1)
        masses += np.exp(-off / (2 * sigma_m**2))
    return CellPosterior(
        REGION, np.full(CELLS, REGION.depth), np.arange(CELLS), masses / masses.sum()
    )


def drive(tracker, rng, steps=40, start=(-200.0, -150.0), yaw=0.6, step_m=10.0):
    """The last fix and the true place after a path that bends, seen ambiguously all along."""
    place, fix = np.array(start), None
    for number in range(steps):
        motion = Motion()
        if number:
            turn = 0.04 * np.sin(number / 5)
            yaw += turn
            place = place + step_m * np.array([np.cos(yaw), np.sin(yaw)])
            # The step in the frame of before the turn.
            motion = Motion(
                step_m * np.cos(turn), step_m * np.sin(turn), turn, step_m, duration_s=1.0
            )
        tracker.predict(motion)
        tracker.update(seen_from(place, rng))
        fix = tracker.fix()
    return fix, place, yaw


def test_ambiguous_frames_become_one_sure_place_and_heading():
    rng = np.random.default_rng(0)
    tracker = Tracker(world(), TrackerConfig(likelihood_exponent=0.8))
    tracker.update(seen_from((-200.0, -150.0), rng))
    first = tracker.fix()
    assert first.status == 'no_fix' and first.yaw_std_rad > 1
    tracker.reset()
    fix, place, yaw = drive(tracker, rng)
    assert fix.status == 'fix'
    assert np.hypot(*(np.array([fix.east_m, fix.north_m]) - place)) < 25
    assert abs((fix.yaw_rad - yaw + np.pi) % (2 * np.pi) - np.pi) < 0.2
    assert fix.yaw_std_rad < 0.3
    assert 0 <= fix.off_map < 0.1 and fix.confidence <= 1 - fix.off_map


def test_the_second_drive_is_like_the_first():
    """After a reset nothing is left of before, to the last bit."""
    tracker = Tracker(world(), TrackerConfig(likelihood_exponent=0.8))
    first, _, _ = drive(tracker, np.random.default_rng(1), steps=8)
    tracker.reset()
    second, _, _ = drive(tracker, np.random.default_rng(1), steps=8)
    assert (first.east_m, first.north_m, first.confidence) == (
        second.east_m,
        second.north_m,
        second.confidence,
    )


def test_a_second_look_from_the_same_place_is_no_second_witness():
    rng = np.random.default_rng(2)
    frame = seen_from((0.0, 0.0), rng)
    tracker = Tracker(world(), TrackerConfig(likelihood_exponent=1.0))
    tracker.update(frame)
    once = tracker.fix()
    for _ in range(20):
        tracker.predict(Motion(duration_s=0.1))
        tracker.update(frame)
        again = tracker.fix()
    assert again.confidence == pytest.approx(once.confidence, abs=0.02)


def test_the_exponent_is_the_given_one_then_the_fitted_then_a_careful_one():
    fitted = world(Calibration(likelihood_exponent=0.3))
    assert Tracker(fitted, TrackerConfig(likelihood_exponent=0.7)).likelihood_exponent == 0.7
    assert Tracker(fitted).likelihood_exponent == 0.3
    assert Tracker(world()).likelihood_exponent == 0.5


def test_a_start_position_is_a_fix_at_once():
    tracker = Tracker(world())
    tracker.start_near(*REGION.to_latlon(100.0, -50.0), np.eye(2) * 100.0, yaw_rad=1.0)
    fix = tracker.fix()
    assert fix.status == 'fix' and fix.yaw_rad == pytest.approx(1.0, abs=0.1)
    np.testing.assert_allclose([fix.east_m, fix.north_m], [100, -50], atol=1.0)
    # 100 m2 of the start and twice a cell of 10 m: its own, and where its lattice lies.
    assert np.diag(fix.covariance_m2) == pytest.approx(100, rel=0.6)


# --- what is looked at ---------------------------------------------------------------------------


@torch.inference_mode()
def test_what_is_not_worth_it_stays_whole_with_the_mass_of_the_policy():
    policy, embeddings, ground = setup()
    everything = dense(search(policy, embeddings, ground))
    expand_mask = [np.ones(4**k, bool) for k in range(3)]
    expand_mask[1][[0, 2]] = False
    expand_mask[2][5] = False
    found = search(policy, embeddings, ground, expand_mask=expand_mask)
    below = {(1, 0): range(16), (1, 2): range(32, 48), (2, 5): range(20, 24)}
    for level, index, mass in zip(found.levels, found.indices, found.masses, strict=True):
        cells = below.get((level, index), [index] if level == 3 else None)
        assert mass == pytest.approx(everything[list(cells)].sum(), rel=1e-6)
    assert found.masses.sum() == pytest.approx(1)


class Counted:
    """A localizer that counts how many cells its searches end in."""

    def __init__(self, localizer):
        self._localizer, self.leaves = localizer, []

    def __getattr__(self, name):
        return getattr(self._localizer, name)

    def posterior(self, image, search_config=None, expand_mask=None):
        found = self._localizer.posterior(image, search_config, expand_mask)
        self.leaves.append(len(found.masses))
        return found


@pytest.fixture(scope='module')
def localizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tracker')
    map = make_map(folder)
    return Localizer.open(map=map, weights=make_weights(folder, map), progress=False)


IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def test_a_robot_that_knows_where_it_is_looks_only_there(localizer):
    counted = Counted(localizer)
    tracker = Tracker(counted)
    tracker.locate(IMAGE, 10**9)
    tracker.start_near(52.5, 13.4, np.eye(2) * 4.0)
    tracker.locate(IMAGE, 2 * 10**9)
    assert counted.leaves[0] == 256 and counted.leaves[1] < 130


@pytest.mark.slow
def test_images_that_contradict_the_belief_open_the_search_again(localizer):
    """It is sure of one corner; the images say another. It comes to look there, and finds it."""
    posterior = localizer.posterior(IMAGE)
    wanted = posterior.best_cell
    away = -np.sign([wanted.east_m, wanted.north_m]) * 100
    tracker = Tracker(localizer, TrackerConfig(likelihood_exponent=1.0))
    tracker.start_near(*localizer.region.to_latlon(*away), np.eye(2) * 25.0)
    for number in range(60):
        turned = Pose(number * 10**9, 0.0, 0.0, 1.5 * number)
        tracker.add_odometry(turned)
        fix = tracker.locate(IMAGE, number * 10**9)
        if number == 0:
            assert np.hypot(*(np.array([fix.east_m, fix.north_m]) - away)) < 40
    found = fix.posterior.mass_within(wanted.east_m, wanted.north_m, 20.0)
    assert found > 0.5 or fix.off_map > 0.5


def test_without_odometry_the_belief_spreads(localizer):
    tracker = Tracker(localizer)
    tracker.start_near(52.5, 13.4, np.eye(2) * 4.0)
    near = tracker.fix().radius_90_m
    tracker.predict(tracker.odometry.motion(0, 10 * 10**9))
    assert tracker.motion.unknown_s == 10
    assert tracker.fix().radius_90_m > near + 20


@pytest.mark.parametrize(
    ('wrong', 'problem'),
    [
        ({'likelihood_exponent': 0.0}, 'likelihood_exponent'),
        ({'decorrelation_distance_m': 0.0}, 'decorrelation_distance_m'),
        ({'unexplored_mass': 1.0}, 'unexplored_mass'),
    ],
)
def test_a_configuration_out_of_range_is_named(wrong, problem):
    with pytest.raises(ConfigError, match=problem):
        TrackerConfig(**wrong)


# --- calibration ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_frames_that_say_the_same_thing_thrice_get_a_third_of_the_say():
    """Each frame is its own likelihood to the power of three: the exponent that makes the belief
    true is about a third."""
    rng = np.random.default_rng(5)
    centers, sequences = REGION.centers(REGION.depth), []
    for _ in range(12):
        sequence, place, yaw = [], rng.uniform(-150, 150, 2), rng.uniform(-np.pi, np.pi)
        for number in range(6):
            if number:
                place = place + 20 * np.array([np.cos(yaw), np.sin(yaw)])
            off = ((centers - place - rng.normal(0, 60.0, 2)) ** 2).sum(1)
            masses = np.exp(-3 * off / (2 * 60.0**2)) + 1e-9
            posterior = CellPosterior(
                REGION, np.full(CELLS, 3), np.arange(CELLS), masses / masses.sum()
            )
            motion = Motion(20.0, distance_m=20.0, duration_s=1.0) if number else Motion()
            sequence.append(Observation(motion, posterior, place))
        sequences.append(sequence)
    fit = fit_exponent(sequences, world(), TrackerConfig(), exponents=(0.1, 0.3, 1.0))
    assert fit.likelihood_exponent == 0.3 and fit.nll_after < fit.nll_before
    assert (fit.sequences, fit.frames) == (12, 72)


@pytest.mark.slow
def test_covariances_are_scaled_to_the_errors_that_they_had():
    rng, sequences = np.random.default_rng(7), []
    for _ in range(4):
        place, sequence = np.array([-200.0, -100.0]), []
        for number in range(60):
            motion = Motion(10.0, distance_m=10.0, duration_s=1.0) if number else Motion()
            place = place + [10.0 if number else 0.0, 0.0]
            sequence.append(Observation(motion, seen_from(place, rng), tuple(place)))
        sequences.append(sequence)
    config = TrackerConfig(likelihood_exponent=0.8)
    scale, fixes = fit_covariance(sequences, world(), config)
    assert fixes >= 100 and 0 < scale < 1.5
    calibrated = Tracker(world(Calibration(covariance_scale=scale)), config)
    plain = Tracker(world(), config)
    for observation in sequences[0]:
        for tracker in (calibrated, plain):
            tracker.predict(observation.motion)
            tracker.update(observation.posterior)
        fix, other = calibrated.fix(), plain.fix()
        assert fix.status == other.status
        factor = scale if fix.status == 'fix' else 1.0
        np.testing.assert_allclose(fix.covariance_m2, factor * other.covariance_m2)
        assert fix.radius_90_m == pytest.approx(np.sqrt(factor) * other.radius_90_m)
    assert fit_covariance([sequences[0][:5]], world(), config)[0] == 1.0
