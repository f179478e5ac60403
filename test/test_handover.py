"""Driving across overlapping regions, against what geometry says."""

import numpy as np
import pytest

from justzoom_ros.worlds.handover import (
    STEP_M,
    Rule,
    Tiling,
    border_route,
    cross,
    far_route,
    main,
)

TILING = Tiling(10_000.0, 1_000.0)


def straight(from_m, to_m, north_m=0.0):
    east_m = np.arange(from_m, to_m, np.copysign(STEP_M, to_m - from_m))
    return np.stack([east_m, np.full_like(east_m, north_m)], axis=1)


def test_the_nearest_region_and_its_border():
    assert TILING.nearest(4_400.0, -100.0) == (0, 0) and TILING.nearest(4_600.0, 0.0) == (1, 0)
    assert TILING.border_m((0, 0), 4_600.0, 3_000.0) == 400.0
    assert TILING.border_m((1, 0), 4_600.0, 3_000.0) == 600.0
    assert TILING.border_m((0, 0), 0.0, 5_200.0) == -200.0


def test_a_straight_drive_is_handed_over_once_per_region():
    done = cross(TILING, Rule(300.0, 1_000.0), straight(0.0, 90_000.0))
    assert (done.handovers, done.back, done.loads) == (10, 0, 10)
    assert done.lead_m == pytest.approx(1_000.0, abs=STEP_M)
    assert done.border_m == pytest.approx(300.0, abs=STEP_M)


@pytest.mark.parametrize(('reach_m', 'back'), [(150.0, 0), (300.0, 1)])
def test_going_back_needs_the_overlap_less_two_margins(reach_m, back):
    """Handed over 200 m beyond the middle line, and back 200 m on the other side of it."""
    ways = [straight(0.0, 4_750.0), straight(4_750.0, 4_500.0 - reach_m)]
    done = cross(TILING, Rule(300.0, 1_000.0), np.concatenate(ways))
    assert (done.handovers, done.back) == (1 + back, back)


def test_round_a_corner_of_the_grid_all_four_regions_are_loaded_once():
    middle_m = TILING.pitch_m / 2
    angles = np.linspace(0, 6 * np.pi, 600)
    circle = middle_m + 400.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    done = cross(TILING, Rule(300.0, 1_000.0), circle)
    assert done.handovers > 4 and done.loads == 3


def test_routes_are_as_long_as_asked_for_and_the_border_holds(capsys):
    rng = np.random.default_rng(0)
    for places in (far_route(rng, 100.0), border_route(rng, 100.0, TILING)):
        done = cross(TILING, Rule(300.0, 1_000.0), places)
        assert done.km == pytest.approx(100.0, rel=0.02)
        assert done.lead_m >= 1_000.0 - STEP_M and done.border_m > 300.0 - 2 * STEP_M
    main(['--km', '20', '--area', '81000'])
    assert '| 1000 m | 1000 |' in capsys.readouterr().out
