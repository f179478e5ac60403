"""What is new in a fix: a consumer that is told increments must come to know what the belief
knows, and no more."""

import math

import numpy as np
import pytest

from justzoom_ros import Region
from justzoom_ros.filtering import HistogramFilter, Motion, MotionNoise, PoseFilter
from justzoom_ros.filtering.channel_filter import ChannelConfig, ChannelFilter
from justzoom_ros.inference.fix import Fix, FixStatus
from justzoom_ros.live.fix_increments import FixIncrements

NOISE = MotionNoise(position_m=0.4, yaw_rad=0.01, yaw_share=0.0)
STEP = Motion(forward_m=5.0, turn_rad=0.05, distance_m=5.0, duration_s=1.0)


class Kalman:
    """East, north and yaw, written out by hand: the belief, and an independent consumer."""

    def __init__(self, mean, covariance):
        self.mean, self.covariance = np.array(mean, float), np.array(covariance, float)

    def predict(self, motion, noise):
        east = math.cos(self.mean[2]) * motion.forward_m
        north = math.sin(self.mean[2]) * motion.forward_m
        self.mean += [east, north, motion.turn_rad]
        jacobian = np.array([[1, 0, -north], [0, 1, east], [0, 0, 1]])
        place = noise.position_m**2 * motion.distance_m
        own = np.diag([place, place, noise.yaw_rad**2 * motion.distance_m])
        self.covariance = jacobian @ self.covariance @ jacobian.T + own

    def update(self, place, covariance):
        h = np.eye(2, 3)
        gain = self.covariance @ h.T @ np.linalg.inv(h @ self.covariance @ h.T + covariance)
        self.mean += gain @ (place - self.mean[:2])
        self.covariance = (np.eye(3) - gain @ h) @ self.covariance


def start(seed=0):
    rng = np.random.default_rng(seed)
    belief = Kalman([10.0, -20.0, 0.5], np.diag([25.0, 16.0, 0.04]))
    channel = ChannelFilter()
    first = channel.tell(belief.mean, belief.covariance)
    assert first.is_start
    np.testing.assert_array_equal(first.covariance_m2, belief.covariance[:2, :2])
    return rng, belief, channel, Kalman(belief.mean, belief.covariance)


def seen(rng, belief):
    return belief.mean[:2] + rng.normal(0, 3.0, 2), np.array([[9.0, 2.0], [2.0, 16.0]])


def test_a_consumer_comes_to_know_exactly_what_the_belief_knows():
    rng, belief, channel, consumer = start()
    for _ in range(30):
        for each in (belief, channel, consumer):
            each.predict(STEP, NOISE)
        place, covariance = seen(rng, belief)
        belief.update(place, covariance)
        told = channel.tell(belief.mean, belief.covariance)
        np.testing.assert_allclose(told.place_m, place, atol=1e-6)  # the frame, and nothing else
        np.testing.assert_allclose(told.covariance_m2, covariance, rtol=1e-6)
        consumer.update(told.place_m, told.covariance_m2)
        np.testing.assert_allclose(consumer.mean, belief.mean, atol=1e-6)
        np.testing.assert_allclose(consumer.covariance, belief.covariance, rtol=1e-6, atol=1e-9)


def test_what_was_not_told_is_told_with_the_next():
    """Frames without a fix use nothing up."""
    rng, belief, channel, consumer = start(1)
    for number in range(60):
        for each in (belief, channel, consumer):
            each.predict(STEP, NOISE)
        belief.update(*seen(rng, belief))
        if number % 5 == 4:
            told = channel.tell(belief.mean, belief.covariance)
            consumer.update(told.place_m, told.covariance_m2)
    # Only what the frames in between said of the heading alone cannot be told as a position.
    off = consumer.mean[:2] - belief.mean[:2]
    assert np.hypot(*off) < 0.5
    more = consumer.covariance[:2, :2] - belief.covariance[:2, :2]
    assert np.linalg.eigvalsh(more)[0] > -1e-6  # never surer than the belief
    assert np.trace(more) < 0.15 * np.trace(belief.covariance[:2, :2])


def test_a_belief_that_saw_nothing_has_nothing_new():
    _, belief, channel, consumer = start(2)
    for _ in range(10):
        for each in (belief, channel, consumer):
            each.predict(STEP, NOISE)
        told = channel.tell(belief.mean, belief.covariance)
        assert np.linalg.eigvalsh(told.covariance_m2)[0] > 900.0**2
        np.testing.assert_allclose(told.place_m, channel.mean[:2], atol=1e-6)


def test_an_error_that_all_fixes_share_is_not_averaged_away():
    rng, belief, channel, consumer = start(3)
    floor = np.diag([16.0, 16.0, 0.0])
    channel.reset()
    channel.tell(belief.mean, belief.covariance + floor)
    consumer.covariance = belief.covariance + floor
    for _ in range(200):
        for each in (belief, channel, consumer):
            each.predict(STEP, NOISE)
        belief.update(*seen(rng, belief))
        told = channel.tell(belief.mean, belief.covariance + floor)
        consumer.update(told.place_m, told.covariance_m2)
        assert np.linalg.eigvalsh(consumer.covariance[:2, :2])[0] > 16.0


def test_a_belief_that_changes_its_mind_is_told_anew():
    _, belief, channel, _ = start(4)
    belief.mean[:2] += 200.0
    told = channel.tell(belief.mean, belief.covariance)
    assert told.is_start
    np.testing.assert_array_equal(told.place_m, belief.mean[:2])


@pytest.mark.parametrize('kind', [HistogramFilter, PoseFilter])
def test_a_robot_that_has_turned_too_far_left_is_too_far_left_as_well(kind):
    """The covariance of place and heading after a straight way, by geometry."""
    std_rad, way_m = 0.15, 150.0
    belief = kind(REGION, np.ones(REGION.branching**REGION.depth, bool))
    belief.start_near((-50.0, -60.0), 25.0 * np.eye(2), 0.5, std_rad)
    still = MotionNoise(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert np.abs(belief.heading_cross()).max() < 0.1
    for _ in range(30):
        belief.predict(Motion(forward_m=way_m / 30, distance_m=way_m / 30), still)
    lattice = belief if kind is HistogramFilter else belief.coarse
    weights = lattice.masses.sum((1, 2)).double().numpy()
    weights /= weights.sum()
    turn = np.angle(np.exp(1j * lattice.yaws_rad) * np.exp(-1j * belief.moments()[2]))
    place = way_m * np.stack([np.cos(lattice.yaws_rad), np.sin(lattice.yaws_rad)])
    expected = place @ (weights * turn) - (place @ weights) * (turn @ weights)
    np.testing.assert_allclose(belief.heading_cross(), expected, atol=0.2)


def test_nothing_is_told_before_the_heading_is_known():
    channel = ChannelFilter(ChannelConfig(max_heading_std_rad=0.3))
    mean = np.array([0.0, 0.0, 1.0])
    assert channel.tell(mean, np.diag([9.0, 9.0, 0.31**2])) is None
    channel.predict(STEP, NOISE)
    assert channel.tell(mean, np.diag([9.0, 9.0, 0.29**2])).is_start


# --- as fixes ------------------------------------------------------------------------------------

REGION = Region(latitude=48.0, longitude=11.0, side_m=640.0, grid=4, depth=3)


def fix(east_m, north_m, status=FixStatus.FIX, yaw_rad=0.5, std_m=4.0):
    latitude, longitude = REGION.to_latlon(east_m, north_m)
    return Fix(
        latitude, longitude, east_m, north_m, std_m**2 * np.eye(2), 0.0, 0.9, status, '', (), None,
        yaw_rad, 0.1,
    )  # fmt: skip


def test_increments_are_fixes_and_no_fix_is_none():
    told = FixIncrements(REGION)
    assert told.add(fix(0, 0, FixStatus.NO_FIX), Motion(), NOISE) is None
    assert told.add(fix(0, 0, yaw_rad=None), Motion(), NOISE) is None
    first = told.add(fix(10.0, 5.0), Motion(), NOISE)
    assert (first.east_m, first.north_m) == pytest.approx((10.0, 5.0))
    assert told.add(fix(14.0, 7.0, FixStatus.NO_FIX), STEP, NOISE) is None
    second = told.add(fix(20.0, 9.5, std_m=2.0), STEP, NOISE)
    assert second.covariance_m2[0, 0] > 4.0  # less than the whole fix says
    assert REGION.to_enu(second.latitude, second.longitude) == pytest.approx(
        (second.east_m, second.north_m), abs=1e-6
    )
    told.reset()
    third = told.add(fix(20.0, 9.5, std_m=2.0), Motion(), NOISE)
    np.testing.assert_array_equal(third.covariance_m2, 4.0 * np.eye(2))
