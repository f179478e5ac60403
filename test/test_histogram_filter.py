"""The belief filter against one that is written as slowly and plainly as can be."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from justzoom_ros import Region
from justzoom_ros.errors import ConfigError
from justzoom_ros.filtering import (
    FILTERS,
    HistogramFilter,
    HistogramFilterConfig,
    Motion,
    MotionNoise,
    make_filter,
)
from justzoom_ros.filtering.lattice import step_kernel
from justzoom_ros.inference.posterior import CellPosterior

REGION = Region(latitude=48.0, longitude=11.0, side_m=160.0, grid=2, depth=3)
"""Eight by eight cells of 20 m."""
CELLS = REGION.branching**REGION.depth
NOISE = MotionNoise(
    position_m=1.0,
    yaw_rad=0.05,
    yaw_share=0.1,
    unknown_m_s=2.0,
    unknown_rad_s=0.2,
    kidnap_rate_per_s=1e-3,
)
CONFIG = HistogramFilterConfig(headings=6, cell_m=20.0, off_map=0.02, probability_floor=0.05)


def posterior_of(masses):
    return CellPosterior(REGION, np.full(CELLS, REGION.depth), np.arange(CELLS), masses)


def some_posterior(seed):
    masses = np.random.default_rng(seed).random(CELLS) ** 6
    return posterior_of(masses / masses.sum())


class BruteForce:
    """The same filter in float64: a dictionary {(heading, row, column): mass} and plain loops.

    Each state is a square of ground that moves along with the robot of its heading.
    """

    def __init__(self, covered):
        self.side = REGION.side_m / 8
        rows, columns = REGION.rows_columns(REGION.depth, np.arange(CELLS))
        self.index = {(r, c): i for i, (r, c) in enumerate(zip(rows, columns, strict=True))}
        self.covered, self.yaw, self.off_map = covered, 0.0, CONFIG.off_map
        self.inlier_probability = CONFIG.inlier_probability
        self.shift = [(0.0, 0.0)] * CONFIG.headings
        self.start = {
            (k, r, c): 1 / CONFIG.headings / covered.sum()
            for k in range(CONFIG.headings)
            for (r, c), i in self.index.items()
            if covered[i]
        }
        self.mass = {at: m * (1 - self.off_map) for at, m in self.start.items()}

    def predict(self, motion):
        step = 2 * np.pi / CONFIG.headings
        moved = {}
        for k in range(CONFIG.headings):
            yaw = self.yaw + k * step
            east = motion.forward_m * np.cos(yaw) - motion.left_m * np.sin(yaw)
            north = motion.forward_m * np.sin(yaw) + motion.left_m * np.cos(yaw)
            south = self.shift[k][0] - north / self.side
            across = self.shift[k][1] + east / self.side
            whole = round(south), round(across)
            self.shift[k] = south - whole[0], across - whole[1]
            for r in range(8):
                for c in range(8):
                    at = k, r + whole[0], c + whole[1]
                    moved[at] = moved.get(at, 0.0) + self.mass.get((k, r, c), 0.0)
        self.yaw += motion.turn_rad
        self.mass = {at: m for at, m in moved.items() if at[1:] in self.index}
        variance = NOISE.position_variance_m2(motion) + step**2 / 12 * motion.distance_m**2
        self.step_all(variance / self.side**2)
        self.turn(NOISE.yaw_variance_rad2(motion) / step**2)
        self.off_map = 1 - sum(self.mass.values())
        lost = NOISE.kidnap_probability(motion)
        keep = {at: (1 - lost) * m for at, m in self.mass.items()}
        for at, m in self.start.items():
            keep[at] = keep.get(at, 0.0) + lost * (1 - CONFIG.off_map) * m
        self.mass = keep
        self.off_map = (1 - lost) * self.off_map + lost * CONFIG.off_map
        # Two states, known and unknown streets, in a thousand small steps.
        for _ in range(1000):
            metres = motion.distance_m / 1000
            lost, won = (
                self.inlier_probability * metres / CONFIG.inlier_run_m,
                metres / CONFIG.outlier_run_m,
            )
            self.inlier_probability += (1 - self.inlier_probability) * won - lost

    def step_all(self, variance):
        kernel = step_kernel(variance)
        reach = len(kernel) // 2
        spread = {}
        for (k, r, c), m in self.mass.items():
            for i, p in enumerate(kernel):
                for j, q in enumerate(kernel):
                    at = k, r + i - reach, c + j - reach
                    if at[1:] in self.index:
                        spread[at] = spread.get(at, 0.0) + m * p * q
        self.mass = spread

    def turn(self, variance):
        kernel = step_kernel(variance)
        reach = len(kernel) // 2
        result = {}
        for (k, r, c), m in self.mass.items():
            for i, p in enumerate(kernel):
                to = (k + i - reach) % CONFIG.headings
                gap = [self.shift[k][a] - self.shift[to][a] if i != reach else 0.0 for a in (0, 1)]
                for dr in (-1, 0, 1):
                    for dc in (-1, 0, 1):
                        share = max(0, 1 - abs(gap[0] - dr)) * max(0, 1 - abs(gap[1] - dc))
                        at = to, r + dr, c + dc
                        if share and at[1:] in self.index:
                            result[at] = result.get(at, 0.0) + m * p * share
        self.mass = result

    def update(self, masses, exponent, novelty):
        fit = (
            sum(m * self.resample(at, masses, novelty) for at, m in self.mass.items())
            + self.off_map
        )
        inlier_probability = (
            self.inlier_probability
            * fit
            / (self.inlier_probability * fit + 1 - self.inlier_probability)
        )
        self.inlier_probability = inlier_probability = min(
            max(inlier_probability, CONFIG.probability_floor), 1 - CONFIG.probability_floor
        )
        for at in self.mass:
            likelihood = self.resample(at, masses, exponent * novelty)
            self.mass[at] *= inlier_probability * likelihood + 1 - inlier_probability
        total = sum(self.mass.values()) + self.off_map
        self.mass = {at: m / total for at, m in self.mass.items()}
        self.off_map /= total

    def resample(self, at, masses, exponent):
        """Mean likelihood over the square of a state."""
        k, r, c = at
        raised = np.where(self.covered, masses, 0.0) ** exponent
        mean, seen = raised[self.covered].mean(), 0.0
        for dr in (-1, 0, 1):
            for dc in (-1, 0, 1):
                share = max(0, 1 - abs(self.shift[k][0] - dr))
                share *= max(0, 1 - abs(self.shift[k][1] - dc))
                i = self.index.get((r + dr, c + dc))
                known = i is not None and self.covered[i]
                seen += share * (raised[i] / mean if known else 1.0)
        return seen

    def array(self):
        masses = np.zeros((CONFIG.headings, 8, 8))
        for at, m in self.mass.items():
            masses[at] = m
        return masses


MOTIONS = (
    Motion(7.0, 0.5, 0.2, 7.1, 1.0),
    Motion(0.0, 0.0, 1.3, 0.0, 1.0),
    Motion(23.0, -4.0, -0.4, 25.0, 2.0, position_variance_m2=3.0, yaw_variance_rad2=0.02),
    Motion.unknown(6.0),
    Motion(61.0, 0.0, 0.0, 61.0, 4.0),
    Motion(-9.0, 0.0, 0.1, 9.0, 1.0),
)


@pytest.mark.parametrize(
    'dtype', [torch.float64, pytest.param(torch.float32, marks=pytest.mark.slow)]
)
def test_it_is_the_brute_force_filter(dtype):
    covered = np.ones(CELLS, bool)
    covered[:9] = False
    belief, brute = HistogramFilter(REGION, covered, CONFIG, dtype), BruteForce(covered)
    for number, motion in enumerate(MOTIONS):
        belief.predict(motion, NOISE)
        brute.predict(motion)
        assert belief.masses.numpy() == pytest.approx(brute.array(), abs=1e-6)
        posterior = some_posterior(number)
        belief.update(posterior, 0.7, 0.8)
        brute.update(posterior.masses, 0.7, 0.8)
        assert belief.masses.numpy() == pytest.approx(brute.array(), abs=1e-6)
        assert belief.off_map == pytest.approx(brute.off_map, abs=1e-6)
        assert belief.inlier_probability == pytest.approx(
            brute.inlier_probability, abs=1e-3 if motion.distance_m else 1e-6
        )
        assert float(belief.masses.sum()) + belief.off_map == pytest.approx(1, abs=1e-6)


def test_the_mean_of_the_belief_is_that_of_its_masses():
    """Moments from the lattices against those of every cell of every heading, one by one."""
    belief = HistogramFilter(REGION, np.ones(CELLS, bool), CONFIG, torch.float64)
    for number, motion in enumerate(MOTIONS[:3]):
        belief.predict(motion, NOISE)
        belief.update(some_posterior(number))
    mean, covariance, yaw, length = belief.moments()
    masses, points, angles = [], [], []
    for k in range(CONFIG.headings):
        for row in range(8):
            for column in range(8):
                south, east = belief.offsets[k]
                points.append((-80 + 20 * (column + 0.5 + east), 80 - 20 * (row + 0.5 + south)))
                masses.append(float(belief.masses[k, row, column]))
                angles.append(belief.yaws_rad[k])
    masses, points = np.array(masses) / np.sum(masses), np.array(points)
    offset = points - masses @ points
    np.testing.assert_allclose(mean, masses @ points, atol=1e-9)
    expected = (masses[:, None] * offset).T @ offset + np.eye(2) * 20**2 / 12
    np.testing.assert_allclose(covariance, expected, atol=1e-9)
    vector = masses @ np.exp(1j * np.array(angles))
    assert (yaw, length) == pytest.approx((np.angle(vector), abs(vector)))


def test_small_movements_add_up_without_blur():
    """A hundred steps of 7 cm are 7 m: the lattice moves along, nothing is smeared."""
    exact = MotionNoise(position_m=0, yaw_rad=0, yaw_share=0, kidnap_rate_per_s=0)
    belief = HistogramFilter(
        REGION, np.ones(CELLS, bool), HistogramFilterConfig(headings=4, off_map=0.0)
    )
    belief.start_near((0.0, 0.0), np.eye(2), yaw_rad=0.0, yaw_std_rad=0.01)
    before = belief.moments()
    for _ in range(100):
        # Not along the length of the path: then headings between two lattices would spread.
        belief.predict(Motion(forward_m=0.07), exact)
    mean, covariance, _, _ = belief.moments()
    heavy = belief.masses.sum((1, 2)).numpy()
    moved = heavy @ np.stack([np.cos(belief.yaws_rad), np.sin(belief.yaws_rad)], 1) * 7.0
    np.testing.assert_allclose(mean - before[0], moved, atol=1e-3)
    np.testing.assert_allclose(np.trace(covariance), np.trace(before[1]), rtol=0.25)


def test_the_kernel_of_a_random_step_has_its_variance():
    for variance in (1e-4, 0.2, 0.5, 0.51, 3.0, 40.0):
        kernel = step_kernel(variance)
        steps = np.arange(len(kernel)) - len(kernel) // 2
        assert kernel.sum() == pytest.approx(1)
        assert kernel @ steps**2 == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize('most', [1, 7, 30])
def test_a_kernel_of_short_steps_is_the_middle_of_the_whole_one(most):
    whole, middle = step_kernel(400.0), step_kernel(400.0, most)
    assert len(middle) == 2 * most + 1
    around = len(whole) // 2
    np.testing.assert_allclose(middle, whole[around - most : around + most + 1], rtol=1e-3)


@pytest.mark.parametrize('seconds', [1e6, 1.7e9, 1e18])
def test_clocks_that_are_years_apart_cost_no_memory_and_leave_nothing_known(seconds):
    """As of a camera with the time since it was switched on beside odometry since 1970."""
    belief = HistogramFilter(REGION, np.ones(REGION.cell_count(REGION.depth), bool))
    belief.predict(Motion.unknown(seconds), MotionNoise())
    assert float(belief.masses.sum()) + belief.off_map == pytest.approx(1, abs=1e-4)
    assert np.isfinite(belief.masses.numpy()).all()
    assert belief.masses.numpy().max() < 1e-3


def test_who_drives_off_the_map_is_off_the_map():
    belief = HistogramFilter(REGION, np.ones(CELLS, bool), CONFIG)
    belief.start_near((0.0, 0.0), np.eye(2) * 100)
    for _ in range(10):
        belief.predict(Motion(forward_m=30.0, distance_m=30.0, duration_s=1.0), NOISE)
    assert belief.off_map > 0.9
    assert float(belief.masses.sum()) + belief.off_map == pytest.approx(1, abs=1e-6)


def sharp(index, mass=0.9):
    masses = np.full(CELLS, (1 - mass) / (CELLS - 1))
    masses[index] = mass
    return posterior_of(masses)


def test_the_kidnapped_are_found_again():
    belief = HistogramFilter(REGION, np.ones(CELLS, bool), CONFIG)
    standing = Motion(duration_s=1.0)
    for _ in range(5):
        belief.predict(standing, NOISE)
        belief.update(sharp(7))
    assert belief.posterior().best_cell.actions == REGION.actions_of(3, 7)
    for _ in range(5):
        belief.predict(standing, NOISE)
        belief.update(sharp(56))
    assert belief.posterior().best_cell.actions == REGION.actions_of(3, 56)
    assert belief.off_map < 0.05


def test_one_frame_cannot_kill_the_truth():
    belief = HistogramFilter(REGION, np.ones(CELLS, bool), CONFIG)
    for _ in range(4):
        belief.update(sharp(7))
    masses = np.zeros(CELLS)
    masses[56] = 1.0
    belief.update(posterior_of(masses))
    for _ in range(2):
        belief.update(sharp(7))
    assert belief.posterior().best_cell.actions == REGION.actions_of(3, 7)


def test_a_compass_narrows_the_heading_and_a_turn_turns_it():
    belief = HistogramFilter(REGION, np.ones(CELLS, bool), HistogramFilterConfig(headings=36))
    belief.update_heading(1.0, 0.1)
    _, _, yaw, length = belief.moments()
    assert yaw == pytest.approx(1.0, abs=0.03) and length > 0.9
    belief.predict(Motion(turn_rad=0.5), MotionNoise(yaw_share=0))
    assert belief.moments()[2] == pytest.approx(1.5, abs=0.03)


def test_cells_without_imagery_keep_what_they_have():
    covered = np.ones(CELLS, bool)
    covered[20] = False
    belief = HistogramFilter(REGION, covered, CONFIG)
    masses = np.where(covered, 1.0, 0.0)
    masses[3] = 60.0
    likelihood = belief.likelihood(posterior_of(masses / masses.sum()))
    rows, columns = REGION.rows_columns(3, np.arange(CELLS))
    assert likelihood[rows[20], columns[20]] == 1.0
    assert likelihood[rows[covered], columns[covered]].mean() == pytest.approx(1.0)


def test_finer_cells_where_terminal_ones_are_large():
    belief = HistogramFilter(
        REGION, np.ones(CELLS, bool), HistogramFilterConfig(headings=4, cell_m=7.0)
    )
    assert belief.cells == 24
    belief.update(sharp(7))
    # The probability that the first frame is an inlier: so much of what it says counts.
    assert belief.posterior().masses[7] == pytest.approx(0.75 * 0.9 + 0.25 / 64, rel=1e-3)


@pytest.mark.parametrize(
    ('make', 'problem'),
    [
        (lambda: HistogramFilterConfig(headings=3), 'headings is 3; it must be at least 4'),
        (lambda: HistogramFilterConfig(probability_floor=0.0), 'probability_floor'),
        (lambda: MotionNoise(position_m=-1), 'position_m'),
        (lambda: MotionNoise(yaw_rad=float('nan')), 'yaw_rad'),
        (
            lambda: HistogramFilter(REGION, np.ones(CELLS), HistogramFilterConfig(cell_m=0.05)),
            'larger cells',
        ),
    ],
)
def test_what_cannot_be_is_named(make, problem):
    with pytest.raises(ConfigError, match=problem):
        make()


def test_a_start_far_from_the_map_is_refused():
    belief = HistogramFilter(REGION, np.ones(CELLS, bool), CONFIG)
    with pytest.raises(ConfigError, match='nowhere near the map'):
        belief.start_near((1e5, 0.0), np.eye(2))


# --- the registry --------------------------------------------------------------------------------


@dataclass(frozen=True)
class StandingConfig:
    """Settings of a filter for robots that never move."""

    kind: ClassVar[str] = 'standing'


class Standing(HistogramFilter):
    """A toy filter: odometry says nothing."""

    def __init__(self, region, covered, config):
        super().__init__(region, covered, CONFIG)

    def predict(self, motion, noise):
        pass


def test_settings_choose_the_filter_and_one_line_adds_one(monkeypatch):
    monkeypatch.setattr(FILTERS, 'entries', dict(FILTERS.entries))
    covered = np.ones(CELLS, bool)
    assert isinstance(make_filter(REGION, covered, CONFIG), HistogramFilter)
    with pytest.raises(ConfigError, match="filter 'standing' is not known; choose of histogram"):
        make_filter(REGION, covered, StandingConfig())
    FILTERS.register('standing', Standing)
    belief = make_filter(REGION, covered, StandingConfig())
    belief.start_near((10.0, 10.0), np.eye(2))
    before = belief.moments()[0]
    belief.predict(Motion(forward_m=50.0, distance_m=50.0), NOISE)
    np.testing.assert_array_equal(belief.moments()[0], before)
