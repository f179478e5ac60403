"""What a long run of the node comes to, from frames whose answers are known."""

import math
import os
import time

import numpy as np
import pytest

from justzoom_ros.bench.soak_figures import (
    ProcessState,
    SentFrame,
    change_per_hour,
    count_lost,
    flat_part,
    frame_figures,
    longest_silence_s,
    minute_rows,
    recoveries_s,
)
from justzoom_ros.bench.soak_flight import RADIUS_M, ROUND, SCALE, STEP_M, CirclingFlight
from justzoom_ros.worlds.town import DEMO_REGION


def frames(*answers, error_m=1.0):
    """Frames sent at 1, 2, 3 s ..., answered at those times; None: never."""
    return [
        SentFrame(1.0 + number, at, None if at is None else error_m)
        for number, at in enumerate(answers)
    ]


def test_a_frame_that_came_while_another_was_at_work_is_not_lost():
    assert count_lost(frames(3.5, None, None, 4.1), []) == 0


def test_a_frame_without_an_answer_while_nothing_was_at_work_is_lost():
    assert count_lost(frames(1.1, None, 3.1), []) == 1


def test_what_a_reset_discarded_is_not_lost_and_what_follows_its_next_answer_is():
    assert count_lost(frames(1.1, None, None, 4.1, None, 6.1), [2.5]) == 1
    assert count_lost(frames(1.1, None, None), [2.5]) == 0


def test_the_longest_silence_counts_unanswered_frames_in_a_row():
    assert longest_silence_s(frames(1.1, None, None, None, 5.1, None)) == 2.0
    assert longest_silence_s(frames(1.1, 2.1)) == 0.0


def test_one_odd_minute_does_not_change_the_trend():
    minutes = [100 + 0.5 * number for number in range(20)]
    minutes[7], minutes[9] = 900, None
    assert change_per_hour(minutes) == pytest.approx(30.0)
    assert change_per_hour([1.0]) is None


def test_a_recovery_runs_from_the_first_frame_after_an_event_to_a_fix_that_is_near():
    sent = [SentFrame(1.0, 1.1, 2.0), SentFrame(2.0, 2.1, 300.0), SentFrame(3.0, 3.5, 2.0)]
    found = recoveries_s(sent, [1.5, 9.0])
    assert (found['times'], found['no fix again']) == (2, 1)
    assert found['fix again after s, median'] == 1.5


def test_figures_of_a_minute_are_of_the_frames_sent_in_it():
    states = [ProcessState(at_s, 50.0 + at_s, 0.01 * at_s, 9, 4) for at_s in (0.5, 2.5, 9.5)]
    first, second = minute_rows(frames(1.2, 2.4, None, 4.3), states)
    assert (first['frames'], first['answered'], first['latency median ms']) == (2, 2, 300.0)
    assert (second['frames'], second['answered'], second['resident MB']) == (2, 1, 59.5)
    assert first['cpu ms a frame'] == 10.0
    assert flat_part([first] * 10, 0.1) == [first] * 9


def test_fixes_that_are_far_off_are_counted():
    found = frame_figures([*frames(1.1, 2.1), *frames(1.1, error_m=26.0)])
    assert (found['fixes'], found['fixes off by more than 25 m']) == (3, 1)


def test_a_process_tells_its_processor_time_and_files():
    before = ProcessState.of(os.getpid(), 0.0)
    end_s = time.process_time() + 0.05
    with open(os.devnull) as nowhere:
        while time.process_time() < end_s:
            assert nowhere
        after = ProcessState.of(os.getpid(), 1.0)
    assert 0.03 <= after.cpu_s - before.cpu_s < 1.0
    assert after.open_files == before.open_files + 1 and after.resident_mb > 10


def test_the_odometry_of_the_flight_goes_as_its_truth_does():
    flight = CirclingFlight(0)
    places = [flight.truth(number) for number in (ROUND - 1, ROUND)]
    way_m = math.dist(*((place.east_m, place.north_m) for place in places))
    assert way_m == pytest.approx(STEP_M, rel=1e-3)
    poses = [flight.odometry(number) for number in (ROUND - 1, ROUND)]
    assert math.dist(*((p.x_m, p.y_m) for p in poses)) == pytest.approx(SCALE * way_m, rel=1e-6)
    turn = np.diff([pose.yaw_rad for pose in poses])[0]
    assert turn == pytest.approx(2 * math.pi / ROUND)
    step = poses[0].x_m - flight.odometry(ROUND - 2).x_m
    assert step > 0  # its first axis points where it flew at first
    assert flight.stamp_ns(10) == 1_000_000_000


def test_errors_are_distances_on_the_ground():
    flight = CirclingFlight(0)
    assert flight.error_m(0, *DEMO_REGION.to_latlon(RADIUS_M, 30.0)) == pytest.approx(30, abs=0.01)
