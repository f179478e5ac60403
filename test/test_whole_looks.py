"""A robot that was found in the wrong place, by views that tell places badly apart."""

from types import SimpleNamespace

import numpy as np
import pytest
from registration_world import CELLS, REGION, Peak, ratios_of

from justzoom_ros.filtering import Motion
from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.inference.fix import FixCriteria, FixStatus
from justzoom_ros.maps.map_offset import MapOffset
from justzoom_ros.tracker import WHOLE_LOOK_M, Tracker

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
STEP_M, NORTH_M, TWIN_NORTH_M = 4.0, -100.0, 60.0
MISTAKEN_M = 72.0
"""So long the twin of the true street looks more like it than the street itself."""


class TwinStreets:
    """A registrar on a map of two streets that run side by side; the robot drives along one."""

    whole_frames = True

    def __init__(self):
        self.east_m, self.areas = -120.0, []

    def likelihood_in(self, view, area, mount_yaw_rad):
        self.areas.append(area)
        heights = (4.0, 12.0) if self.east_m < -120.0 + MISTAKEN_M else (12.0, 1.0)
        norths_m = (NORTH_M, TWIN_NORTH_M)
        peaks = [Peak(self.east_m, n, 0.0, h) for n, h in zip(norths_m, heights, strict=True)]
        return ratios_of(peaks, area)


def tracker_on(registrar):
    return Tracker(
        SimpleNamespace(
            registrar=registrar, zoom=None, camera=None, region=REGION,
            covered=np.ones(CELLS, bool),
            calibration=Calibration(), map_offset=MapOffset(), criteria=FixCriteria(),
            view=lambda images, state, mounts: SimpleNamespace(tilt_std_m=0.0),
            correct=lambda fix, criteria: fix,
        )
    )  # fmt: skip


def drive(tracker, streets, distance_m):
    """Drive east; the last fix."""
    fix = None
    for number in range(round(distance_m / STEP_M)):
        motion = Motion(STEP_M, distance_m=STEP_M, duration_s=1.0) if number else Motion()
        streets.east_m += motion.forward_m
        fix = tracker.locate_after(motion, IMAGE)
    return fix


@pytest.mark.slow
def test_a_look_at_the_whole_map_finds_a_robot_that_was_found_in_the_wrong_place():
    streets = TwinStreets()
    tracker = tracker_on(streets)
    wrong = drive(tracker, streets, MISTAKEN_M)
    assert wrong.status is FixStatus.FIX and abs(wrong.north_m - TWIN_NORTH_M) < 5
    streets.east_m += STEP_M
    right = drive(tracker, streets, 4 * WHOLE_LOOK_M)  # three looks, and the way to be sure
    assert right.status is FixStatus.FIX
    assert np.hypot(right.east_m - streets.east_m, right.north_m - NORTH_M) < 5


@pytest.mark.slow
def test_the_whole_map_is_looked_at_now_and_then_and_else_what_is_near():
    streets = TwinStreets()
    tracker = tracker_on(streets)
    drive(tracker, streets, 60.0)
    streets.areas.clear()
    drive(tracker, streets, 2.5 * WHOLE_LOOK_M)
    whole = [area.reach_m == REGION.side_m / 2 for area in streets.areas]
    assert 2 <= sum(whole) <= 3 and len(whole) > 25


@pytest.mark.slow
def test_a_robot_grows_no_surer_by_looking_round_the_place_that_it_was_found_in():
    """Of two streets the twin was the better at first. The frames after that look round it alone,
    and fit: what a search leaves out, a thousandth, stays with all other places."""
    streets = TwinStreets()
    tracker = tracker_on(streets)
    drive(tracker, streets, 2 * STEP_M)
    streets.areas.clear()
    confidences = []
    for _ in range(8):
        streets.east_m += STEP_M
        fix = tracker.locate_after(Motion(STEP_M, distance_m=STEP_M, duration_s=1.0), IMAGE)
        if not streets.areas[-1].is_whole(REGION.side_m):
            confidences.append(fix.confidence)
    assert len(confidences) > 3 and max(confidences) < 0.9995


class StreetAfterFields:
    """A registrar on a map where the robot drives over a field first, which looks alike
    everywhere, then along a street that is told at once."""

    whole_frames = True

    def __init__(self):
        self.east_m, self.areas = -120.0, []

    def likelihood_in(self, view, area, mount_yaw_rad):
        self.areas.append(area)
        height = 0.0 if self.east_m < -120.0 + LOST_M else 12.0
        return ratios_of([Peak(self.east_m, NORTH_M, 0.0, height)], area)


LOST_M = 1.4 * WHOLE_LOOK_M


@pytest.mark.slow
def test_a_robot_that_was_just_found_on_the_whole_map_does_not_look_at_all_of_it_at_once():
    streets = StreetAfterFields()
    tracker = tracker_on(streets)
    drive(tracker, streets, LOST_M)
    while tracker.belief.window_mass < 0.9:
        assert streets.east_m < 0.0
        streets.east_m += STEP_M
        tracker.locate_after(Motion(STEP_M, distance_m=STEP_M, duration_s=1.0), IMAGE)
    streets.areas.clear()
    streets.east_m += STEP_M
    drive(tracker, streets, 16.0)
    assert len(streets.areas) == 4
    assert not any(area.is_whole(REGION.side_m) for area in streets.areas)


@pytest.mark.slow
def test_a_robot_has_no_fix_until_it_was_sure_of_a_place_as_far_as_from_one_look_to_the_next():
    streets = TwinStreets()
    streets.east_m += MISTAKEN_M
    tracker, fixes = tracker_on(streets), []
    for number in range(16):
        motion = Motion(STEP_M, distance_m=STEP_M, duration_s=1.0) if number else Motion()
        streets.east_m += motion.forward_m
        fixes.append(tracker.locate_after(motion, IMAGE))
    first = next(n for n, fix in enumerate(fixes) if fix.status is FixStatus.FIX)
    early = fixes[first - 1]
    assert first * STEP_M >= WHOLE_LOOK_M and 'not confirmed' in early.reason
    assert abs(early.north_m - NORTH_M) < 5 and early.radius_90_m > fixes[first].radius_90_m


@pytest.mark.slow
def test_a_robot_that_was_told_its_place_has_a_fix_at_once():
    streets = TwinStreets()
    streets.east_m += MISTAKEN_M
    tracker = tracker_on(streets)
    place = REGION.to_latlon(streets.east_m, NORTH_M)
    tracker.start_near(*place, 9.0 * np.eye(2), 0.0, 0.1)
    assert tracker.locate_after(Motion(), IMAGE).status is FixStatus.FIX
