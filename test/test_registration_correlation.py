"""Templates and correlation against sums written out in double precision, and landmarks against
geometry."""

from dataclasses import replace
from math import cos, pi, radians, sin

import numpy as np
import pytest
import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.registration.correlation import (
    Window,
    correlate,
    correlate_tiles,
    tiles_of,
)
from justzoom_ros.registration.map_features import MapFeatures
from justzoom_ros.registration.spectrum import fast_length, pairs_of
from justzoom_ros.registration.template import Templates, headings, rotate

YAWS = [0, 30, 45, 90, 233]


def random_map(rng, channels, shape, gaps=False):
    mask = np.ones(shape, bool)
    if gaps:
        mask[: shape[0] // 3, : shape[1] // 2] = False
    return rng.normal(size=(channels, *shape)).astype(np.float32) * mask, mask


def random_templates(rng, count, channels, size, anchors):
    weights = rng.random((count, *size)) * (rng.random((count, *size)) > 0.2)
    features = rng.normal(size=(count, channels, *size)) * weights[:, None]
    return Templates(
        torch.from_numpy(features).float(),
        torch.from_numpy(weights).float(),
        np.array(anchors),
        np.arange(count, dtype=float),
    )


def brute_force(features, mask, templates):
    """Sums of products and numbers of cells at every pose, in double precision, by definition."""
    turned, weights = templates.features.double().numpy(), templates.weights.double().numpy()
    count = len(weights)
    sums, cells = np.zeros((2, count, *mask.shape))
    for k, i, j in np.ndindex(weights.shape):
        row, column = np.indices(mask.shape)
        row, column = row + i - templates.anchors[k, 0], column + j - templates.anchors[k, 1]
        inside = (row >= 0) & (row < mask.shape[0]) & (column >= 0) & (column < mask.shape[1])
        at = row[inside], column[inside]
        sums[k, inside] += turned[k, :, i, j] @ features[:, at[0], at[1]]
        cells[k, inside] += weights[k, i, j] * mask[at]
    return sums, cells


def check(found, features, mask, templates, min_imagery=0.5):
    sums, cells = brute_force(features.astype(float), mask, templates)
    window = found.window
    rows, columns = slice(window.top, window.bottom), slice(window.left, window.right)
    sums, cells = sums[:, rows, columns], cells[:, rows, columns]
    np.testing.assert_allclose(found.cells, cells, atol=1e-4)
    share = cells / templates.weights.double().numpy().sum((1, 2))[:, None, None]
    clear = np.abs(share - min_imagery) > 1e-3
    valid = share > min_imagery
    np.testing.assert_array_equal(found.valid.numpy()[clear], valid[clear])
    both = valid & clear
    np.testing.assert_allclose(found.score.numpy()[both], sums[both] / cells[both], atol=2e-5)
    assert not found.score.numpy()[~valid & clear].any()


@pytest.mark.parametrize(
    'shape, size, anchors',
    [
        ((12, 12), (5, 5), [[2, 2], [2, 2]]),
        ((11, 14), (4, 6), [[1, 3], [2, 2]]),
        ((13, 9), (6, 3), [[0, 0], [5, 2]]),
        ((10, 10), (7, 8), [[9, 3], [-4, 12]]),  # the camera outside of what it sees
        ((6, 5), (9, 9), [[4, 4], [3, 5]]),  # a view larger than the map
    ],
)
@pytest.mark.parametrize('gaps', [False, True])
def test_correlation_is_the_sum_written_out(shape, size, anchors, gaps):
    rng = np.random.default_rng(0)
    features, mask = random_map(rng, 3, shape, gaps)
    templates = random_templates(rng, 2, 3, size, anchors)
    found = correlate(MapFeatures(torch.from_numpy(features), mask), templates, min_imagery=0.3)
    assert found.score.shape == (2, *shape)
    check(found, features, mask, templates, 0.3)


@pytest.mark.parametrize('size, origin', [((5, 8), (2.5, 4.0)), ((6, 4), (8.3, 1.1))])
@pytest.mark.parametrize('gaps', [False, True])
def test_opposite_headings_share_a_transform_and_have_their_own_sums(size, origin, gaps):
    rng = np.random.default_rng(7)
    features, mask = random_map(rng, 3, (13, 16), gaps)
    view = torch.from_numpy(rng.normal(size=(3, *size))).float()
    templates = rotate(view, torch.ones(size), origin, headings(10))
    assert pairs_of(templates) == [(k, k + 5) for k in range(5)]
    found = correlate(MapFeatures(torch.from_numpy(features), mask), templates, min_imagery=0.2)
    check(found, features, mask, templates, 0.2)


def test_only_templates_that_are_the_same_turned_by_half_are_a_pair():
    rng = np.random.default_rng(8)
    templates = random_templates(rng, 4, 2, (5, 6), [[2, 3]] * 4)
    assert pairs_of(templates) == [(k, None) for k in range(4)]
    other = replace(templates, yaws_rad=np.arange(4) * pi / 2)
    assert pairs_of(other) == [(k, None) for k in range(4)]
    odd = rotate(templates.features[0], torch.ones(5, 6), (2.5, 3.0), headings(5))
    assert pairs_of(odd) == [(k, None) for k in range(5)]


@pytest.mark.parametrize('window', [Window(0, 0, 4, 5), Window(3, 6, 11, 7), Window(8, 9, 12, 15)])
def test_a_window_has_the_scores_of_the_whole_map(window):
    rng = np.random.default_rng(1)
    features, mask = random_map(rng, 4, (12, 15), gaps=True)
    templates = random_templates(rng, 3, 4, (5, 7), [[2, 3], [-2, 4], [1, 9]])
    found = correlate(MapFeatures(torch.from_numpy(features), mask), templates, window)
    assert found.score.shape == (3, *window.shape)
    check(found, features, mask, templates)


def test_a_spectrum_that_is_kept_serves_templates_of_other_sizes():
    rng = np.random.default_rng(2)
    features, mask = random_map(rng, 2, (16, 17))
    kept = MapFeatures(torch.from_numpy(features), mask)
    assert kept.spectrum_bytes == 0
    for size, anchors in (
        ((7, 7), [[3, 3]]),
        ((2, 3), [[1, 1]]),
        ((5, 6), [[6, -5]]),
        ((9, 4), [[0, 2]]),
    ):
        templates = random_templates(rng, 1, 2, size, anchors)
        check(correlate(kept, templates), features, mask, templates)
    (spectrum,) = kept.kept_spectra.values()
    correlate(kept, templates)
    assert list(kept.kept_spectra.values()) == [spectrum]
    rows, columns = spectrum.size
    assert kept.spectrum_bytes == 3 * rows * (columns // 2 + 1) * 8


def test_the_spectrum_of_a_part_of_a_map_is_kept_on_demand():
    rng = np.random.default_rng(3)
    features, mask = random_map(rng, 2, (16, 17), gaps=True)
    kept, part = MapFeatures(torch.from_numpy(features), mask), Window(4, 3, 11, 12)
    for keep, count in ((False, 0), (True, 1), (True, 1)):
        templates = random_templates(rng, 2, 2, (5, 5), [[2, 2], [2, 1]])
        check(correlate(kept, templates, part, keep=keep), features, mask, templates)
        assert len(kept.kept_spectra) == count


@pytest.mark.parametrize('tile', [4, 7, 12])
def test_tiles_have_the_scores_of_the_whole_map(tile):
    rng = np.random.default_rng(8)
    features, mask = random_map(rng, 3, (17, 13), gaps=True)
    templates = random_templates(rng, 3, 3, (5, 6), [[2, 3], [-3, 4], [1, 9]])
    pieces = MapFeatures(torch.from_numpy(features), mask)
    found = correlate_tiles(pieces, templates, tiles_of(pieces.window, tile))
    covered = np.zeros((17, 13), int)
    for piece in found:
        check(piece, features, mask, templates)
        covered[piece.window.slices] += 1
    assert (covered == 1).all()
    assert pieces.spectrum_bytes == 0


@pytest.mark.parametrize('kept', [8, 30])
def test_a_large_map_is_put_together_from_tiles(monkeypatch, kept):
    rng = np.random.default_rng(9)
    features, mask = random_map(rng, 3, (23, 18), gaps=True)
    templates = random_templates(rng, 2, 3, (5, 6), [[2, 3], [1, 4]])
    pieces = MapFeatures(torch.from_numpy(features), mask)
    whole = correlate(pieces, templates)
    pieces.kept_spectra.clear()
    part = correlate(pieces, templates, Window(3, 2, 22, 16))
    monkeypatch.setattr('justzoom_ros.registration.correlation.MAX_KEPT', kept)
    monkeypatch.setattr('justzoom_ros.registration.correlation.TILE', 7)
    monkeypatch.setattr('justzoom_ros.registration.correlation.BATCH_BYTES', 20_000)
    for window, expected in ((None, whole), (part.window, part)):
        found = correlate(pieces, templates, window)
        assert found.window == expected.window
        np.testing.assert_allclose(found.score, expected.score, atol=1e-5)
        np.testing.assert_allclose(found.cells, expected.cells, atol=1e-4)
        np.testing.assert_array_equal(found.valid, expected.valid)


def test_the_background_is_the_mean_and_deviation_of_valid_scores():
    rng = np.random.default_rng(10)
    features, mask = random_map(rng, 3, (15, 16), gaps=True)
    found = correlate(
        MapFeatures(torch.from_numpy(features), mask),
        random_templates(rng, 3, 3, (5, 6), [[2, 3]] * 3),
    )
    scores = found.score.double().numpy()[found.valid.numpy()]
    assert found.background() == pytest.approx((scores.mean(), scores.std()), rel=1e-5)


def test_half_precision_features_give_the_same_scores_to_their_rounding():
    rng = np.random.default_rng(3)
    features, mask = random_map(rng, 4, (20, 20))
    templates = random_templates(rng, 2, 4, (6, 6), [[3, 3], [2, 2]])
    exact = correlate(MapFeatures(torch.from_numpy(features), mask), templates)
    half = correlate(MapFeatures(torch.from_numpy(features).half(), mask), templates)
    np.testing.assert_allclose(half.score, exact.score, atol=5e-3)


def test_templates_of_another_network_are_refused():
    rng = np.random.default_rng(4)
    features, mask = random_map(rng, 4, (8, 8))
    with pytest.raises(ConfigError, match='same network'):
        correlate(
            MapFeatures(torch.from_numpy(features), mask),
            random_templates(rng, 1, 3, (3, 3), [[1, 1]]),
        )
    with pytest.raises(ConfigError, match='same cells'):
        MapFeatures(torch.from_numpy(features), mask[:4])


def test_fast_lengths_are_the_smallest_with_factors_two_three_and_five():
    def smooth(n):
        for factor in (2, 3, 5):
            while n % factor == 0:
                n //= factor
        return n == 1

    for length in range(1, 700):
        assert fast_length(length) == next(n for n in range(length, 2000) if smooth(n))


# --- rotation ----------------------------------------------------------------------------------


def bump(shape, at, sigma=1.5):
    """A smooth landmark (1, h, w) at a continuous row and column."""
    rows, columns = np.arange(shape[0])[:, None] + 0.5, np.arange(shape[1]) + 0.5
    squared = (rows - at[0]) ** 2 + (columns - at[1]) ** 2
    return torch.from_numpy(np.exp(-squared / (2 * sigma**2)))[None].float()


def centroid(values):
    """Continuous row and column of the middle of mass."""
    values = np.asarray(values, float)
    rows, columns = np.arange(values.shape[0]) + 0.5, np.arange(values.shape[1]) + 0.5
    return np.array([values.sum(1) @ rows, values.sum(0) @ columns]) / values.sum()


@pytest.mark.parametrize('yaw_deg', YAWS)
@pytest.mark.parametrize('shape', [(24, 30), (25, 31), (31, 24)])
@pytest.mark.parametrize('origin', [(12.0, 15.0), (12.5, 15.5), (11.3, 16.8), (40.25, 12.0)])
def test_a_landmark_of_the_view_lies_where_geometry_says(yaw_deg, shape, origin):
    landmark = (8.7, 19.4)
    view = bump(shape, landmark)
    templates = rotate(view, np.ones(shape, bool), origin, [radians(yaw_deg)])
    right, ahead = landmark[1] - origin[1], origin[0] - landmark[0]
    # Ahead is towards the yaw, right a quarter turn clockwise from it.
    yaw = radians(yaw_deg)
    east, north = ahead * cos(yaw) + right * sin(yaw), ahead * sin(yaw) - right * cos(yaw)
    expected = templates.anchors[0] + 0.5 + (-north, east)
    np.testing.assert_allclose(centroid(templates.features[0, 0]), expected, atol=0.02)


def test_right_angles_move_cells_without_mixing_them():
    rng = np.random.default_rng(5)
    view = torch.from_numpy(rng.normal(size=(3, 7, 9))).float()
    mask = rng.random((7, 9)) > 0.3
    turned = rotate(view, mask, (3.5, 4.5), [pi / 2, pi, 0.0])
    seen = (view * torch.from_numpy(mask)).numpy()
    for k, quarters in enumerate((0, 1, 3)):
        expected = np.rot90(seen, quarters, (1, 2))
        found = turned.features[k].numpy()
        rows, columns = (np.flatnonzero(np.abs(found).sum(0).sum(axis) > 1e-4) for axis in (1, 0))
        cut = found[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        np.testing.assert_allclose(cut, expected, atol=1e-5)


@pytest.mark.parametrize('yaw_deg', YAWS)
def test_what_is_seen_keeps_its_area_when_turned(yaw_deg):
    mask = np.zeros((30, 40), bool)
    mask[4:27, 6:33] = True
    templates = rotate(torch.ones(1, 30, 40), mask, (15.0, 20.0), [radians(yaw_deg)])
    assert float(templates.cells[0]) == pytest.approx(mask.sum(), rel=0.01)
    np.testing.assert_allclose(templates.features[:, 0], templates.weights, atol=1e-6)


def test_rotation_reads_the_view_by_bilinear_interpolation():
    rng = np.random.default_rng(6)
    view, mask = rng.normal(size=(2, 6, 8)), rng.random((6, 8)) > 0.2
    origin, yaw = (2.6, 4.1), radians(233)
    found = rotate(torch.from_numpy(view).float(), mask, origin, [yaw])
    padded = np.pad(view * mask, ((0, 0), (20, 20), (20, 20)))
    for i, j in np.ndindex(*found.weights.shape[1:]):
        south, east = i - found.anchors[0, 0], j - found.anchors[0, 1]
        right, ahead = east * sin(yaw) + south * cos(yaw), east * cos(yaw) - south * sin(yaw)
        row, column = origin[0] - ahead - 0.5 + 20, origin[1] + right - 0.5 + 20
        r, c = int(row), int(column)
        a, b = row - r, column - c
        expected = (
            (1 - a) * (1 - b) * padded[:, r, c]
            + (1 - a) * b * padded[:, r, c + 1]
            + a * (1 - b) * padded[:, r + 1, c]
            + a * b * padded[:, r + 1, c + 1]
        )
        np.testing.assert_allclose(found.features[0, :, i, j], expected, atol=1e-4)
    # Nothing of the view is lost beyond the box.
    np.testing.assert_allclose(found.cells[0], mask.sum(), rtol=0.05)


@pytest.mark.parametrize('yaw_deg', YAWS)
def test_a_view_cut_from_the_map_is_found_where_it_was_cut(yaw_deg):
    """Smooth features, sampled by formula at a pose between the cells."""
    rng = np.random.default_rng(7)
    waves = rng.uniform(0.15, 0.9, (6, 2)) * rng.choice([-1, 1], (6, 2))

    def world(row, column):
        return np.stack([np.sin(a * row + b * column) for a, b in waves])

    grid = np.meshgrid(np.arange(60) + 0.5, np.arange(64) + 0.5, indexing='ij')
    pose, yaw, origin = (28.5, 33.5), radians(yaw_deg), (9.3, 12.1)
    rows, columns = np.meshgrid(np.arange(20) + 0.5, np.arange(25) + 0.5, indexing='ij')
    right, ahead = columns - origin[1], origin[0] - rows
    east, north = ahead * cos(yaw) + right * sin(yaw), ahead * sin(yaw) - right * cos(yaw)
    view = world(pose[0] - north, pose[1] + east)
    yaws = yaw + radians(10) * np.arange(-2, 3)
    templates = rotate(torch.from_numpy(view).float(), np.ones((20, 25)), origin, yaws)
    found = correlate(MapFeatures(torch.from_numpy(world(*grid)).float()), templates)
    best = np.unravel_index(int(found.score.argmax()), found.score.shape)
    assert best == (2, 28, 33)


def test_headings_go_all_the_way_round_or_stay_near_one():
    np.testing.assert_allclose(np.degrees(headings(4)), [0, 90, 180, 270])
    near = np.degrees(headings(36, radians(5), radians(20)))
    np.testing.assert_allclose(near, [345, 355, 5, 15, 25], atol=1e-9)
    assert len(headings(36, 1.0)) == 36
    assert len(np.unique(np.round(headings(36, 1.0), 6))) == 36


def test_views_without_ground_and_shapes_that_differ_are_refused():
    with pytest.raises(ConfigError, match='no ground'):
        rotate(torch.ones(1, 4, 4), np.zeros((4, 4), bool), (2.0, 2.0), [0.0])
    with pytest.raises(ConfigError, match='belong together'):
        rotate(torch.ones(1, 4, 4), np.ones((4, 5), bool), (2.0, 2.0), [0.0])
    with pytest.raises(ConfigError, match='finite'):
        rotate(torch.ones(1, 4, 4), np.ones((4, 4), bool), (2.0, np.nan), [0.0])


def test_gradients_reach_the_features_of_a_view():
    view = torch.ones(2, 6, 6, requires_grad=True)
    rotate(view, np.ones((6, 6)), (3.0, 3.0), [0.3]).features.sum().backward()
    assert float(view.grad.sum()) == pytest.approx(2 * 36, rel=0.05)


# --- maps --------------------------------------------------------------------------------------


def test_windows_of_a_map_hold_what_is_within_reach_and_end_with_it():
    some = MapFeatures(torch.zeros(1, 100, 80), cell_m=2.0)
    assert some.position_m(0, 0) == (-79.0, 99.0)
    window = some.window_around(10.0, -20.0, 8.0)
    assert window == Window(56, 41, 64, 49)
    assert some.window_around(-75.0, 95.0, 10.0) == Window(0, 0, 8, 8)
    with pytest.raises(ConfigError, match='no cell'):
        some.window_around(200.0, 0.0, 20.0)


def test_pooled_maps_are_means_over_imagery():
    rng = np.random.default_rng(11)
    features, mask = random_map(rng, 2, (9, 10), gaps=True)
    found = MapFeatures(torch.from_numpy(features), mask, 2.0).pooled(4)
    assert found.shape == (3, 3) and found.cell_m == 8.0
    assert (found.west_m, found.north_m) == (-10.0, 9.0)
    padded = np.pad(mask, ((0, 3), (0, 2)))
    blocks = padded.reshape(3, 4, 3, 4).sum((1, 3))
    np.testing.assert_allclose(found.mask, blocks / 16)
    sums = np.pad(features, ((0, 0), (0, 3), (0, 2))).reshape(2, 3, 4, 3, 4).sum((2, 4))
    expected = np.where(blocks > 0, sums / np.maximum(blocks, 1), 0)
    np.testing.assert_allclose(found.features, expected, atol=1e-6)
