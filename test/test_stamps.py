"""Stamps of messages as nanoseconds, and the one rule for a clock that jumps back."""

from types import SimpleNamespace

import pytest

from justzoom_ros.filtering.odometry import JUMPED_BACK, Odometry
from justzoom_ros.io.stamps import (
    NS_PER_S,
    StampGate,
    from_nanoseconds,
    has_jumped_back,
    to_nanoseconds,
)
from justzoom_ros.pose import Pose


@pytest.mark.parametrize(
    'sec, nanosec, stamp_ns',
    [(0, 0, 0), (0, 1, 1), (1, 0, 1_000_000_000), (1_790_000_000, 7, 1_790_000_000_000_000_007)],
)
def test_stamps_are_whole_nanoseconds_and_back(sec, nanosec, stamp_ns):
    assert to_nanoseconds(SimpleNamespace(sec=sec, nanosec=nanosec)) == stamp_ns
    assert from_nanoseconds(stamp_ns) == (sec, nanosec)


def test_a_second_back_is_a_jump_and_less_is_late():
    assert has_jumped_back(5 * NS_PER_S, 4 * NS_PER_S)
    assert not has_jumped_back(5 * NS_PER_S, 4 * NS_PER_S + 1)
    assert not has_jumped_back(5 * NS_PER_S, 6 * NS_PER_S)


@pytest.mark.parametrize('back_ns, jumps', [(NS_PER_S, True), (NS_PER_S - 1, False)])
def test_frames_and_odometry_see_the_same_jump(back_ns, jumps):
    newest_ns = 1_790_000_000 * NS_PER_S
    gate, odometry = StampGate(), Odometry()
    gate.judge(newest_ns)
    odometry.add(Pose(newest_ns, 0.0, 0.0, 0.0))
    assert (gate.judge(newest_ns - back_ns) == 'jump') == jumps
    problem = odometry.add(Pose(newest_ns - back_ns, 0.0, 0.0, 0.0))
    assert (problem == JUMPED_BACK) == jumps
