"""What a registration says of each pose, on the states of the belief filter."""

import numpy as np
import pytest
import torch
from registration_world import Ratios

from justzoom_ros import Region
from justzoom_ros.filtering import (
    HistogramFilter,
    HistogramFilterConfig,
    Motion,
    MotionNoise,
    lattice,
)
from justzoom_ros.filtering.lattices import Lattices, common_angles, common_lengths, spread
from justzoom_ros.filtering.pose_ratios import CellRatios, PoseExcess

REGION = Region(latitude=48.0, longitude=11.0, side_m=160.0, grid=2, depth=3)
"""Eight by eight cells of 20 m."""
CONFIG = HistogramFilterConfig(headings=6, cell_m=20.0, off_map=0.02)
NOISE = MotionNoise(position_m=1.0, yaw_rad=0.05, yaw_share=0.1)
MOTIONS = (
    Motion(7.0, 0.5, 0.2, 7.1, 1.0),
    Motion(0.0, 0.0, 1.3, 0.0, 1.0),
    Motion(23.0, -4.0, -0.4, 25.0, 2.0),
)


def some_ratios(seed, yaws_rad, step_rad, cell_m=7.0, shape=(17, 13), west_m=-71.0, north_m=64.0):
    random = np.random.default_rng(seed)
    logs = random.normal(0, 3, (len(yaws_rad), *shape))
    logs[random.random(logs.shape) < 0.1] = -np.inf
    logs = torch.from_numpy(logs.astype(np.float32))
    return Ratios(logs, np.asarray(yaws_rad), step_rad, cell_m, west_m, north_m)


def effective(ratios, belief, k, row, column, exponent):
    """Mean ratio over the box of one state, by walking through all boxes of the likelihood."""
    south, east = belief.offsets[k]
    west = -80 + 20 * (column + east)
    north = 80 - 20 * (row + south)
    half, mean = belief.yaw_step_rad / 2, 1.0
    logs = ratios.log_ratio.double().numpy()
    for i, yaw in enumerate(ratios.yaws_rad):
        turn = (yaw - belief.yaws_rad[k] + np.pi) % (2 * np.pi) - np.pi
        angle = min(half, turn + ratios.step_rad / 2) - max(-half, turn - ratios.step_rad / 2)
        if angle <= 0:
            continue
        for r in range(logs.shape[1]):
            top = ratios.north_m - r * ratios.cell_m
            high = min(top, north) - max(top - ratios.cell_m, north - 20)
            if high <= 0:
                continue
            for c in range(logs.shape[2]):
                left = ratios.west_m + c * ratios.cell_m
                wide = min(left + ratios.cell_m, west + 20) - max(left, west)
                log = logs[i, r, c]
                if wide > 0 and np.isfinite(log):
                    share = angle / (2 * half) * high * wide / 400
                    mean += share * (np.exp(exponent * log) - 1)
    return mean


def outlier_ratio(ratios, exponent):
    """Mean ratio over the map: what an outlier may be taken for."""
    total = 0.0
    for log in ratios.log_ratio.double().flatten().tolist():
        if np.isfinite(log):
            total += ratios.cell_m**2 * ratios.step_rad * (np.exp(exponent * log) - 1)
    return max(1.0, 1 + total / (160**2 * 2 * np.pi))


@pytest.mark.parametrize(
    'dtype', [torch.float64, pytest.param(torch.float32, marks=pytest.mark.slow)]
)
def test_poses_weigh_the_belief_as_a_plain_loop_does(dtype):
    belief = HistogramFilter(REGION, np.ones(64, bool), CONFIG, dtype)
    for number, motion in enumerate(MOTIONS):
        belief.predict(motion, NOISE)
        before, off_map = belief.masses.double().numpy().copy(), belief.off_map
        inlier = belief.inlier_probability
        ratios = some_ratios(number, belief.yaws_rad, belief.yaw_step_rad)
        belief.update_poses(ratios, 0.6, 0.8)
        full, tempered = np.empty_like(before), np.empty_like(before)
        for at in np.ndindex(before.shape):
            full[at] = effective(ratios, belief, *at, 0.8)
            tempered[at] = effective(ratios, belief, *at, 0.48)
        fit = ((before * full).sum() + off_map) / outlier_ratio(ratios, 0.8)
        inlier = np.clip(inlier * fit / (inlier * fit + 1 - inlier), 0.05, 0.95)
        outlier = (1 - inlier) * outlier_ratio(ratios, 0.48)
        weighed = before * (inlier * tempered + outlier)
        off_map *= inlier + outlier
        total = weighed.sum() + off_map
        assert belief.inlier_probability == pytest.approx(inlier, abs=1e-6)
        np.testing.assert_allclose(belief.masses.numpy(), weighed / total, atol=1e-6)
        assert belief.off_map == pytest.approx(off_map / total, abs=1e-6)


@pytest.mark.parametrize(('count', 'first'), [(12, 0.0), (3, 0.2), (8, 1.0)])
def test_other_headings_count_by_the_angle_they_share(count, first):
    belief = HistogramFilter(REGION, np.ones(64, bool), CONFIG, torch.float64)
    step = 2 * np.pi / count
    ratios = some_ratios(1, first + np.arange(count) * step, step)
    excess = PoseExcess(ratios, 1.0).on(belief.lattices())
    for k, row, column in ((0, 2, 3), (3, 1, 2), (5, 4, 1)):
        found = excess.values[k, row - excess.rows.start, column - excess.columns.start]
        expected = effective(ratios, belief, k, row, column, 1.0) - 1
        assert float(found) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_where_nothing_was_looked_at_nothing_is_learned():
    belief = HistogramFilter(REGION, np.ones(64, bool), CONFIG, torch.float64)
    ratios = some_ratios(2, belief.yaws_rad[1:2], belief.yaw_step_rad, shape=(4, 4))
    before = belief.masses.clone()
    belief.update_poses(ratios)
    seen = belief.masses / before
    touched = torch.zeros(seen.shape, dtype=torch.bool)
    touched[1, 0:3, 0:2] = True
    unseen = seen[~touched]
    assert float(unseen.max() - unseen.min()) < 1e-12 < float((seen[touched] - unseen[0]).std())
    outside = some_ratios(3, belief.yaws_rad, belief.yaw_step_rad, west_m=500.0)
    before = belief.masses.clone()
    belief.update_poses(outside)
    np.testing.assert_allclose(belief.masses, before, rtol=1e-12)


def test_a_policy_says_the_same_of_poses_as_of_cells():
    """A likelihood of cells, whatever the heading, by the way of poses and as resampled cells."""
    belief = HistogramFilter(REGION, np.ones(64, bool), CONFIG, torch.float64)
    belief.predict(MOTIONS[0], NOISE)
    masses = np.random.default_rng(0).random(64)
    likelihood = masses.reshape(8, 8)
    ratios = CellRatios(torch.from_numpy(np.log(likelihood))[None], 20.0, -80.0, 80.0)
    expected = lattice.resample(torch.from_numpy(likelihood), belief.offsets, beyond=1.0)
    excess = PoseExcess(ratios, 1.0).on(belief.lattices())
    np.testing.assert_allclose(1 + excess.values.numpy(), expected.numpy(), atol=1e-12)


def test_a_certain_view_stays_a_number():
    belief = HistogramFilter(REGION, np.ones(64, bool), CONFIG)
    ratios = some_ratios(0, belief.yaws_rad, belief.yaw_step_rad)
    ratios.log_ratio[2, 10, 10] = 3e4
    belief.update_poses(ratios)
    assert torch.isfinite(belief.masses).all()
    # Sure of one place as far as one frame may be.
    assert float(belief.masses[2].sum()) == pytest.approx(0.75, abs=0.05)
    belief.update_poses(ratios)
    assert float(belief.masses[2].sum()) > 0.99


def test_lengths_and_angles_in_common():
    found = common_lengths(np.array([0.0, 2, 4]), np.array([-1.0, 1, 1.5, 9]))
    np.testing.assert_allclose(found, [[1, 0.5, 0.5], [0, 0, 2]])
    shared = common_angles(np.radians([0, 10]), np.radians(10), np.radians([357]), np.radians(4))
    np.testing.assert_allclose(np.degrees(shared), [[4], [0]], atol=1e-9)
    shared = common_angles(np.zeros(1), np.radians(10), np.zeros(1), 2 * np.pi)
    np.testing.assert_allclose(np.degrees(shared), [[10]])


def test_masses_are_spread_over_what_they_cover_and_none_is_lost():
    random = np.random.default_rng(0)
    first = 0.3
    coarse = Lattices(
        torch.zeros(6, 8, 8, dtype=torch.float64), random.uniform(-0.5, 0.5, (6, 2)),
        first + np.arange(6) * np.pi / 3, np.pi / 3, 20.0, -80.0, 80.0,
    )  # fmt: skip
    fine = Lattices(
        torch.from_numpy(random.random((12, 10, 10))), random.uniform(-0.5, 0.5, (12, 2)),
        first + np.arange(12) * np.pi / 6, np.pi / 6, 5.0, -30.0, 20.0,
    )  # fmt: skip
    spread(fine, coarse)
    assert float(coarse.masses.sum()) == pytest.approx(float(fine.masses.sum()))

    def mean(lattices, axis):
        edges = lattices.edges_m(np.arange(len(lattices.masses)), axis)
        middles = (edges[:, 1:] + edges[:, :-1]) / 2
        return (lattices.masses.sum(2 - axis).numpy() * middles).sum() / lattices.masses.sum()

    # The mean of a coarse cell is not where the mass in it was: within half a cell.
    for axis in (0, 1):
        assert float(mean(coarse, axis)) == pytest.approx(float(mean(fine, axis)), abs=10)
    one = fine.masses.new_zeros(fine.masses.shape)
    one[3, 2, 7] = 1.0
    single = Lattices(one, fine.offsets, *[getattr(fine, n) for n in list(vars(fine))[2:]])
    coarse.masses.zero_()
    spread(single, coarse)
    # Heading 3 is half of heading 1 and half of 2.
    np.testing.assert_allclose(coarse.masses.sum((1, 2)).numpy(), [0, 0.5, 0.5, 0, 0, 0])
