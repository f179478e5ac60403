"""The belief filter against one that is written as slowly and plainly as can be."""

import numpy as np
import pytest
import torch

from justzoom_ros import Region
from justzoom_ros.belief import Belief, BeliefConfig, Motion, MotionNoise
from justzoom_ros.belief.lattice import step_kernel
from justzoom_ros.posterior import CellPosterior

REGION = Region(latitude=48.0, longitude=11.0, side_m=160.0, grid=2, depth=3)
"""Eight by eight cells of 20 m."""
CELLS = REGION.branching**REGION.depth
NOISE = MotionNoise(
    position_m=1.0,
    yaw_rad=0.05,
    yaw_share=0.1,
    unknown_m_s=2.0,
    unknown_rad_s=0.2,
    lost_per_s=1e-3,
)
CONFIG = BeliefConfig(headings=6, cell_m=20.0, off_map=0.02, floor=0.05)


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
        self.shift = [(0.0, 0.0)] * CONFIG.headings
        self.start = {
            (k, r, c): 1 / CONFIG.headings / covered.sum()
            for k in range(CONFIG.headings)
            for (r, c), i in self.index.items()
            if covered[i]
        }
        self.mass = {at: m * (1 - self.off_map) for at, m in self.start.items()}

    def move(self, motion):
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
        lost = NOISE.lost(motion)
        keep = {at: (1 - lost) * m for at, m in self.mass.items()}
        for at, m in self.start.items():
            keep[at] = keep.get(at, 0.0) + lost * (1 - CONFIG.off_map) * m
        self.mass = keep
        self.off_map = (1 - lost) * self.off_map + lost * CONFIG.off_map

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

    def see(self, masses, exponent):
        raised = np.where(self.covered, masses, 0.0) ** exponent
        mean = sum(raised[i] for i in range(CELLS) if self.covered[i]) / self.covered.sum()
        for k, r, c in self.mass:
            seen = 0.0
            for dr in (-1, 0, 1):
                for dc in (-1, 0, 1):
                    share = max(0, 1 - abs(self.shift[k][0] - dr))
                    share *= max(0, 1 - abs(self.shift[k][1] - dc))
                    i = self.index.get((r + dr, c + dc))
                    value = 1.0
                    if i is not None and self.covered[i]:
                        value = CONFIG.floor + (1 - CONFIG.floor) * raised[i] / mean
                    seen += share * value
            self.mass[k, r, c] *= seen
        total = sum(self.mass.values()) + self.off_map
        self.mass = {at: m / total for at, m in self.mass.items()}
        self.off_map /= total

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


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_it_is_the_brute_force_filter(dtype):
    covered = np.ones(CELLS, bool)
    covered[:9] = False
    belief, brute = Belief(REGION, covered, CONFIG, dtype), BruteForce(covered)
    for number, motion in enumerate(MOTIONS):
        belief.move(motion, NOISE)
        brute.move(motion)
        assert belief.masses.numpy() == pytest.approx(brute.array(), abs=1e-6)
        posterior = some_posterior(number)
        belief.see(posterior, 0.7)
        brute.see(posterior.masses, 0.7)
        assert belief.masses.numpy() == pytest.approx(brute.array(), abs=1e-6)
        assert belief.off_map == pytest.approx(brute.off_map, abs=1e-6)
        assert float(belief.masses.sum()) + belief.off_map == pytest.approx(1, abs=1e-6)
