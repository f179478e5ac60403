"""The filter with a fine window: against one of fine cells everywhere, and on flights."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from registration_world import (
    CELLS,
    NOISE,
    REGION,
    Flight,
    Peak,
    fix_of,
    fly_and_score,
    ratios_of,
)
from test_pose_ratios import MOTIONS, some_ratios

from justzoom_ros import Region
from justzoom_ros.errors import ConfigError
from justzoom_ros.filtering import (
    FineWindowConfig,
    HistogramFilter,
    HistogramFilterConfig,
    Motion,
    MotionNoise,
    PoseFilter,
    PoseFilterConfig,
    fine_window,
    make_filter,
)
from justzoom_ros.filtering.search_area import SearchArea
from justzoom_ros.inference.fix import FixStatus
from justzoom_ros.registration.likelihood import PoseLikelihood

TINY = Region(latitude=48.0, longitude=11.0, side_m=160.0, grid=2, depth=3)
"""Eight by eight cells of 20 m."""
COARSE = HistogramFilterConfig(headings=6, cell_m=20.0, off_map=0.02)
STILL = MotionNoise(position_m=0, yaw_rad=0, yaw_share=0, kidnap_rate_per_s=0)


def pose_filter(**window):
    return PoseFilter(
        REGION, np.ones(CELLS, bool), PoseFilterConfig(window=FineWindowConfig(**window))
    )


def look(belief, *peaks, area=None):
    belief.update_poses(ratios_of(peaks, area or belief.search_area()))


def posterior_mode(belief):
    """Indices of the terminal cells of the heaviest mode."""
    return belief.posterior().modes()[0].indices


def total(belief):
    fine = belief.window_mass
    return float(belief.coarse.masses.sum(dtype=torch.float64)) + fine + belief.off_map


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_a_window_of_the_whole_map_is_a_filter_with_fine_cells_everywhere(dtype):
    """To 1e-6, driving off the map included. That filter is held against plain loops elsewhere."""
    window = FineWindowConfig(
        cell_m=10.0, side_m=160.0, headings=12, spawn_mass=0.05, absorb_mass=0.0
    )
    noise = MotionNoise(position_m=1.0, yaw_rad=0.05, yaw_share=0.1, kidnap_rate_per_s=0)
    belief = PoseFilter(TINY, np.ones(64, bool), PoseFilterConfig(COARSE, window), dtype)
    fine = HistogramFilterConfig(headings=12, cell_m=10.0, off_map=0.02)
    brute = HistogramFilter(TINY, np.ones(64, bool), fine, torch.float64)
    for number, motion in enumerate((Motion(), *MOTIONS, MOTIONS[2])):
        if number:
            belief.predict(motion, noise)
            brute.predict(motion, noise)
        ratios = some_ratios(number, brute.yaws_rad, brute.yaw_step_rad)
        belief.update_poses(ratios, 0.6, 0.8)
        brute.update_poses(ratios, 0.6, 0.8)
        masses = torch.zeros_like(brute.masses)
        (window,) = belief.windows
        masses[window.numbers] = window.masses.double()
        np.testing.assert_allclose(masses, brute.masses, atol=1e-6)
        assert belief.off_map == pytest.approx(brute.off_map, abs=1e-6)
        assert belief.inlier_probability == pytest.approx(brute.inlier_probability, abs=1e-6)
        expected = brute.posterior().masses
        np.testing.assert_allclose(belief.posterior().masses, expected, atol=1e-6)
    assert brute.off_map > 0.03


@pytest.mark.slow
def test_nothing_is_lost_the_first_frame_gives_metres_and_the_second_a_fix():
    belief, flight = pose_filter(), Flight(1, outliers=0.0)
    for number in range(8):
        if number:
            belief.predict(flight.fly(), NOISE)
            assert total(belief) == pytest.approx(1, abs=1e-5)
        look(belief, *flight.peaks())
        assert total(belief) == pytest.approx(1, abs=1e-5)
        assert belief.posterior().masses.sum() == pytest.approx(1)
        fix = fix_of(belief)
        error = belief.moments(posterior_mode(belief))[0] - (flight.east_m, flight.north_m)
        assert np.hypot(*error) < 8
        if number > 0:
            assert fix.status is FixStatus.FIX and fix.radius_90_m < 8


def test_leaving_out_what_holds_next_to_nothing_changes_nothing(monkeypatch):
    """Until after the flight has left the map, against a window that keeps all of itself."""
    flight, window = Flight(3, outliers=0.0), FineWindowConfig()
    everything = round(window.side_m / window.cell_m) ** 2 * window.headings
    told = []
    for _ in range(8):
        told.append((flight.fly(), flight.peaks()))
    told += [(Motion(forward_m=20.0, distance_m=20.0, duration_s=1.0), [])] * 18

    def follow(negligible):
        monkeypatch.setattr(fine_window, 'NEGLIGIBLE', negligible)
        belief = pose_filter()
        for motion, peaks in told:
            belief.predict(motion, NOISE)
            assert total(belief) == pytest.approx(1, abs=1e-5)
            if peaks:
                look(belief, *peaks, area=belief.whole_area())
            kept = sum(window.masses.numel() for window in belief.windows)
            yield belief.cell_masses(), belief.off_map, kept

    found, expected = list(follow(1e-8)), list(follow(-1.0))
    for (masses, off_map, _), (all_masses, all_off_map, _) in zip(found, expected, strict=True):
        np.testing.assert_allclose(masses, all_masses, atol=1e-6)
        assert off_map == pytest.approx(all_off_map, abs=1e-6)
    assert max(kept for *_, kept in found[3:8]) < 0.05 * everything
    assert off_map > 0.9


def test_heading_converges():
    belief, flight = pose_filter(), Flight(2, outliers=0.0)
    look(belief, *flight.peaks())
    for _ in range(5):
        belief.predict(flight.fly(), NOISE)
        look(belief, *flight.peaks())
    _, _, yaw, length = belief.moments()
    turn = (yaw - flight.yaw_rad + np.pi) % (2 * np.pi) - np.pi
    assert abs(turn) < np.radians(6) and np.sqrt(-2 * np.log(length)) < np.radians(5)


@pytest.mark.slow
def test_a_look_at_a_part_of_the_map_may_take_from_a_place_but_not_give_to_it():
    """Of two places one is looked at alone, again and again. It fits: it does not grow surer by
    that, but narrower. Where it does not fit it loses as ever."""
    belief = pose_filter()
    look(belief, Peak(-90, 80, 1.0, 15.0), Peak(100, -70, -2.0, 14.0))
    before, width = belief.mass_within(-90, 80, 75), belief.moments()[1].trace()
    assert 0.4 < before < 0.8
    beliefs = [deepcopy(belief) for _ in range(3)]
    near = SearchArea(-90.0, 80.0, 50.0, beliefs[0].search_area().yaws_rad, 36)
    assert not near.is_whole(REGION.side_m) and beliefs[0].whole_area().is_whole(REGION.side_m)
    fitting, misfit = ratios_of([Peak(-90, 80, 1.0, 8.0)], near), ratios_of([], near, -4.0)
    beliefs[0].update_poses(fitting)
    beliefs[1].update_poses(fitting, may_gain=False)
    beliefs[2].update_poses(misfit, may_gain=False)
    gained, kept, lost = (belief.mass_within(-90, 80, 75) for belief in beliefs)
    assert gained > before + 0.05
    assert kept == pytest.approx(before, abs=0.01) and lost < before - 0.1
    assert beliefs[1].moments(posterior_mode(beliefs[1]))[1].trace() < width
    for belief in beliefs:
        assert total(belief) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_the_search_narrows_once_the_place_is_known_and_opens_for_the_kidnapped():
    belief, standing = pose_filter(), Motion(duration_s=1.0)
    assert len(belief.search_area().yaws_rad) == 36 and belief.search_area().reach_m > 150
    here, there = Peak(-90, 80, 1.0, 15.0), Peak(100, -70, -2.0, 15.0)
    for _ in range(4):
        look(belief, here)
        belief.predict(standing, NOISE)
    area = belief.search_area()
    assert len(area.yaws_rad) <= 9 and area.headings == 144 and area.reach_m <= 60
    assert np.hypot(area.east_m + 90, area.north_m - 80) < 10
    for frames in range(12):  # noqa: B007
        look(belief, there)
        belief.predict(standing, NOISE)
        if belief.mass_within(100, -70, 10) > 0.9:
            break
    assert frames < 10
    look(belief, there)
    assert belief.windows
    np.testing.assert_allclose(belief.moments()[0], (100, -70), atol=1.5)


@pytest.mark.slow
def test_two_places_that_look_alike_stay_alive_until_one_is_seen_to_be_right():
    belief = pose_filter()
    yaw = np.radians(60)
    one, other = Peak(-90, 80, yaw, 16.0), Peak(100, -70, yaw - np.pi, 16.0)
    for _ in range(3):
        look(belief, one, other)
        belief.predict(Motion(duration_s=1.0), NOISE)
    masses = [belief.mass_within(peak.east_m, peak.north_m, 20) for peak in (one, other)]
    assert min(masses) > 0.3 and sum(masses) > 0.9 and len(belief.windows) == 2
    assert fix_of(belief).status is FixStatus.NO_FIX
    for _ in range(2):
        look(belief, other)
    assert belief.mass_within(100, -70, 10) > 0.9
    assert fix_of(belief).status is FixStatus.FIX


@pytest.mark.slow
@pytest.mark.parametrize('turn_rad', [0.0, 0.07])
def test_the_window_follows_for_long_without_bias(turn_rad):
    """The mean of each heading is where float64 dead reckoning of that heading is."""
    belief = pose_filter(absorb_mass=1.0)
    for _ in range(5):
        look(belief, Peak(-95.0, -3.0, 0.1, 20.0, std_m=3.0))
    (window,) = belief.windows

    def means():
        """Mass and mean of each heading, by number."""
        part = window.lattices()
        masses = part.masses.double().numpy()
        middles = [
            (part.edges_m(np.arange(len(masses)), axis)[:, :-1] + part.side_m / 2)
            for axis in (0, 1)
        ]
        weight = np.maximum(masses.sum((1, 2)), 1e-300)
        south = (masses.sum(2) * middles[0]).sum(1) / weight
        east = (masses.sum(1) * middles[1]).sum(1) / weight
        numbers = window.numbers
        return {n: (weight[i], east[i], -south[i]) for i, n in enumerate(numbers)}

    before, yaws = means(), dict(zip(window.numbers, window.lattices().yaws_rad, strict=True))
    corner, yaw = window.corner.copy(), 0.0
    reckoned = np.zeros(2)
    paths = {number: np.zeros(2) for number in before}
    for _ in range(60):
        belief.predict(Motion(forward_m=3.37, left_m=0.21, turn_rad=turn_rad), STILL)
        for number in paths:
            cos, sin = np.cos(yaws[number] + yaw), np.sin(yaws[number] + yaw)
            paths[number] += (3.37 * cos - 0.21 * sin, 3.37 * sin + 0.21 * cos)
        yaw += turn_rad
    after = means()
    heavy = [n for n in before if before[n][0] > 0.02]
    assert len(heavy) >= 2
    for number in heavy:
        moved = np.subtract(after[number][1:], before[number][1:])
        np.testing.assert_allclose(moved, paths[number], atol=1e-3)
        assert after[number][0] == pytest.approx(before[number][0], rel=1e-4)
        reckoned += paths[number]
    if not turn_rad:
        assert (window.corner != corner).any()


@pytest.mark.slow
def test_a_policy_and_a_compass_weigh_both_parts():
    belief = pose_filter()
    at = Peak(-90, 80, 1.0, 15.0)
    look(belief, at)
    look(belief, at)
    assert belief.window_mass > 0.9
    posterior = belief.posterior()
    masses = np.full(CELLS, 0.5 / CELLS)
    masses[posterior.leaf_at(-90, 80)] += 0.5
    belief.update(type(posterior)(REGION, posterior.levels, posterior.indices, masses))
    assert total(belief) == pytest.approx(1, abs=1e-5)
    belief.predict(Motion(duration_s=600.0), NOISE)  # in which it may have been kidnapped
    coarse, fine = belief.coarse.masses.clone(), belief.window_mass
    belief.update_heading(1.0 + np.pi, 0.1)
    assert total(belief) == pytest.approx(1, abs=1e-5)
    # A compass that contradicts: less of the window, more of what the lattice holds.
    assert belief.window_mass < fine and float(belief.coarse.masses.sum()) > float(coarse.sum())


def test_unknown_motion_gives_the_window_up_and_loses_nothing():
    belief = pose_filter()
    look(belief, Peak(-90, 80, 1.0, 15.0))
    assert belief.windows
    belief.predict(Motion.unknown(60.0), NOISE)
    assert not belief.windows and total(belief) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize('seconds', [1e6, 1.7e9])
def test_clocks_that_are_years_apart_cost_no_memory(seconds):
    belief = pose_filter()
    look(belief, Peak(-90, 80, 1.0, 15.0))
    belief.predict(Motion.unknown(seconds), NOISE)
    assert not belief.windows and total(belief) == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_simulated_flights_end_in_metres_and_never_surely_elsewhere():
    """A fifth of the frames shows another place, half of these the same one again."""
    flights = [
        fly_and_score(PoseFilter(REGION, np.ones(CELLS, bool)), Flight(seed), 6, 1.0, 20.0)
        for seed in range(2)
    ]
    sure = [frame for flight in flights for frame in flight if frame.sure]
    assert len(sure) > 6
    assert max(frame.error_m for frame in sure) < 15
    assert np.median([frame.error_m for frame in sure]) < 3
    assert 0.3 < np.mean([frame.squared for frame in sure]) / 2 < 2


def test_who_has_left_the_map_is_looked_for_everywhere():
    belief = pose_filter()
    for _ in range(3):
        look(belief, Peak(140, 0, 0.0, 15.0))
    for _ in range(6):
        belief.predict(Motion(forward_m=60.0, distance_m=60.0, duration_s=1.0), STILL)
    assert belief.off_map > 0.99
    area = belief.search_area()
    assert area.reach_m >= 150 and len(area.yaws_rad) == 36


@pytest.mark.slow
def test_a_registrations_likelihood_is_taken_as_it_is():
    belief = pose_filter()
    area = belief.search_area()
    made_up = ratios_of([Peak(-90, 80, 1.0, 15.0)], area)
    likelihood = PoseLikelihood(
        made_up.log_ratio, area.yaws_rad, made_up.cell_m, made_up.west_m, made_up.north_m
    )
    belief.update_poses(likelihood)
    np.testing.assert_allclose(belief.moments()[0], (-90, 80), atol=1.5)
    top = likelihood.peaks(1)[0]
    np.testing.assert_allclose((top.east_m, top.north_m), (-90, 80), atol=1.5)


def test_headings_that_do_not_divide_are_refused():
    config = PoseFilterConfig(window=FineWindowConfig(headings=50))
    with pytest.raises(ConfigError, match='multiple'):
        make_filter(REGION, np.ones(CELLS, bool), config)
    assert isinstance(make_filter(REGION, np.ones(CELLS, bool), PoseFilterConfig()), PoseFilter)


@pytest.mark.slow
def test_what_is_kept_between_questions_is_forgotten_with_every_change():
    """Answers after a change are those of a filter that keeps nothing."""
    belief, rng = pose_filter(), np.random.default_rng(5)
    belief.start()
    changes = [
        lambda: belief.predict(Motion(4.0, 0.0, 0.1, 4.0, 1.0), MotionNoise()),
        lambda: belief.update_heading(0.4, 0.2),
        lambda: look(belief, Peak(30.0, -20.0, 0.3, 14.0)),
        lambda: belief.start_near((10.0, 5.0), np.eye(2) * 30.0),
    ]
    for number in [2, 2, 2, *rng.integers(0, 3, 8), 3]:
        changes[number]()
        kept = [*belief.moments(), belief.heading_cross(), belief.cell_masses(), *belief.points()]
        again = [*belief.moments(), belief.heading_cross(), belief.cell_masses(), *belief.points()]
        belief._kept = type(belief._kept)()
        anew = [*belief.moments(), belief.heading_cross(), belief.cell_masses(), *belief.points()]
        for one, two, three in zip(kept, again, anew, strict=True):
            np.testing.assert_array_equal(one, two)
            np.testing.assert_array_equal(one, three)
