"""For how long a robot has been sure of one place."""

import numpy as np

from justzoom_ros.filtering.place_watch import FORGET_M, JUMP_M, PlaceWatch


def test_the_way_counts_as_long_as_the_place_goes_along():
    watch, place = PlaceWatch(), np.zeros(2)
    watch.move(100.0)  # before it was found
    for number in range(6):
        assert watch.see(place) == 10.0 * number
        watch.move(10.0)
        place = place + (6.0, 8.0)


def test_frames_between_that_are_not_sure_do_not_matter_unless_they_are_many():
    watch = PlaceWatch()
    watch.see(np.zeros(2))
    for _ in range(4):
        watch.move(10.0)
    assert watch.see(np.array([40.0, 0.0])) == 40.0
    watch.move(FORGET_M + 1)
    assert watch.see(np.array([90.0, 0.0])) == 0.0


def test_another_place_begins_anew():
    watch = PlaceWatch()
    watch.see(np.zeros(2))
    watch.move(30.0)
    assert watch.see(np.array([30.0 + JUMP_M - 1, 0.0])) == 30.0
    watch.move(10.0)
    assert watch.see(np.array([30.0 + 2 * JUMP_M + 11, 0.0])) == 0.0


def test_a_place_that_was_told_is_certain_until_it_jumps():
    watch = PlaceWatch()
    watch.trust()
    assert watch.see(np.zeros(2)) == np.inf
    watch.move(5.0)
    assert watch.see(np.array([5.0, 0.0])) == np.inf
    assert watch.see(np.array([300.0, 0.0])) == 0.0
    watch.reset()
    assert watch.see(np.zeros(2)) == 0.0
