"""Region against published rows, pyproj.Geod and the definition of the zoom tree."""

import ast
import csv
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from quick import quick_first

from justzoom_ros import Region
from justzoom_ros.errors import ConfigError, OutsideRegionError

GEOD = Geod(ellps='WGS84')
PLACES = [(38.8936, -76.9885), (0.0, 0.0), (-54.8, -68.3), (69.65, 18.96), (-17.0, 180.0)]
PUBLISHED_BOUNDS = (-3000.0, 7000.0, -5000.0, 5000.0)

regions = st.builds(
    Region,
    latitude=st.floats(-80, 80),
    longitude=st.floats(-180, 180),
    side_m=st.floats(1.0, 50_000.0),
    grid=st.integers(2, 8),
    depth=st.integers(1, 8),
    plane=st.sampled_from(['wgs84', 'sphere']),
)
fraction = st.floats(-0.5, 0.5)


def published_region():
    return Region.from_bounds(38.8936, -77.0116, PUBLISHED_BOUNDS, plane='sphere')


# --- the published rows ------------------------------------------------------------------------


def test_all_published_rows_are_reproduced(shared):
    with open(shared / 'reference' / 'published_rows.csv') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    region = published_region()
    for row in rows:
        found = region.encode(float(row['latitude']), float(row['longitude']))
        assert found == tuple(ast.literal_eval(row['sequence']))


def test_from_bounds_puts_the_origin_where_the_bounds_say():
    region = Region.from_bounds(38.8936, -77.0116, PUBLISHED_BOUNDS)
    assert region.side_m == 10_000
    azimuth, _, distance = GEOD.inv(-77.0116, 38.8936, region.longitude, region.latitude)
    assert distance == pytest.approx(2000, rel=1e-6)
    assert azimuth == pytest.approx(90, abs=1e-6)


def test_bounds_that_are_not_square_are_refused():
    with pytest.raises(ConfigError, match='not a square'):
        Region.from_bounds(0, 0, (-10, 10, -10, 11))
    with pytest.raises(ConfigError):
        Region.from_bounds(0, 0, (10, -10, 10, -10))
    with pytest.raises(ConfigError):
        Region.from_bounds(0, 0, (math.nan, 10, -10, 10))


# --- the plane ---------------------------------------------------------------------------------


@pytest.mark.parametrize('latitude, longitude', PLACES)
def test_wgs84_plane_agrees_with_the_geodesic(latitude, longitude):
    region = Region(latitude, longitude, 10_000.0)
    generator = np.random.default_rng(1)
    east, north = generator.uniform(-5000, 5000, (2, 2, 200))
    lat, lon = region.to_latlon(east, north)
    _, _, geodesic_m = GEOD.inv(lon[0], lat[0], lon[1], lat[1])
    plane_m = np.hypot(east[0] - east[1], north[0] - north[1])
    assert np.max(np.abs(plane_m / geodesic_m - 1)) < 1e-4
    azimuth, _, from_centre_m = GEOD.inv(
        np.full(200, longitude), np.full(200, latitude), lon[0], lat[0]
    )
    np.testing.assert_allclose(from_centre_m, np.hypot(east[0], north[0]), atol=1e-4)
    np.testing.assert_allclose(from_centre_m * np.sin(np.radians(azimuth)), east[0], atol=1e-3)
    np.testing.assert_allclose(from_centre_m * np.cos(np.radians(azimuth)), north[0], atol=1e-3)


def test_sphere_plane_is_equirectangular():
    region = Region(38.8936, -76.98, 10_000.0, plane='sphere')
    lat, lon = 38.91, -77.01
    east, north = region.to_enu(lat, lon)
    assert north == pytest.approx(6378137 * math.radians(lat - 38.8936), abs=1e-5)
    shrink = math.cos(math.radians(38.8936))
    assert east == pytest.approx(6378137 * math.radians(lon + 76.98) * shrink, abs=1e-5)


@given(regions, fraction, fraction)
@settings(max_examples=150, deadline=None)
def test_round_trip_is_below_a_millimetre(region, across, up):
    east, north = across * region.side_m, up * region.side_m
    lat, lon = region.to_latlon(east, north)
    assert -180 <= lon <= 180
    back = region.to_enu(lat, lon)
    assert math.dist(back, (east, north)) < 1e-3


@pytest.mark.parametrize('plane', ['wgs84', 'sphere'])
@pytest.mark.parametrize('longitude', [180.0, -180.0, 179.999, -179.999])
def test_the_antimeridian_is_nothing_special(plane, longitude):
    region = Region(-17.0, longitude, 5000.0, plane=plane)
    east, north = region.to_enu(-17.0, [179.99, -179.99])
    assert east[1] - east[0] == pytest.approx(2129, abs=5)
    np.testing.assert_allclose(north, 0, atol=2)
    assert region.contains(-17.0, 179.99) and region.contains(-17.0, -179.99)
    assert region.encode(-17.0, 179.99) != region.encode(-17.0, -179.99)
    lat, lon = region.to_latlon(np.array([-2000.0, 2000.0]), 0.0)
    assert lon[0] > 0 > lon[1]
    np.testing.assert_allclose(region.to_enu(lat, lon)[0], [-2000, 2000], atol=1e-3)


def test_positions_that_are_no_positions_become_nan():
    region = Region(10.0, 20.0, 1000.0)
    east, north = region.to_enu([math.nan, 91.0, 10.0, 10.0], [20.0, 20.0, math.inf, 20.0])
    assert np.isnan(east).tolist() == np.isnan(north).tolist() == [True, True, True, False]
    assert not region.contains(math.nan, 20.0)


# --- the tree ----------------------------------------------------------------------------------


@given(regions, fraction, fraction)
@settings(max_examples=150, deadline=None)
def test_the_encoded_cell_holds_the_point(region, across, up):
    east, north = across * region.side_m, up * region.side_m
    actions = tuple(region.encode_enu(east, north))
    assert len(actions) == region.depth
    for level in range(region.depth + 1):
        cell = region.cell(actions[:level])
        reach = cell.side_m / 2 + 1e-9 * region.side_m
        assert abs(cell.east_m - east) <= reach and abs(cell.north_m - north) <= reach
        assert cell.side_m == pytest.approx(region.side_m / region.grid**level)


@given(regions, st.data())
@settings(max_examples=100, deadline=None)
def test_cell_centres_encode_to_their_own_actions(region, data):
    actions = tuple(
        data.draw(
            st.lists(
                st.integers(0, region.branching - 1), min_size=region.depth, max_size=region.depth
            )
        )
    )
    cell = region.cell(actions)
    assert tuple(region.encode_enu(cell.east_m, cell.north_m)) == actions
    index = region.cell_index(actions)
    assert 0 <= index < region.branching**region.depth
    assert region.actions_of(region.depth, index) == actions
    east, north = region.centers(region.depth, [index])[0]
    assert (east, north) == pytest.approx((cell.east_m, cell.north_m), abs=1e-6)
    assert region.to_enu(cell.latitude, cell.longitude) == pytest.approx((east, north), abs=1e-3)


def test_actions_are_numbered_row_by_row_from_the_north_west():
    region = Region(50.0, 8.0, 300.0, grid=3, depth=1)
    for action in range(9):
        cell = region.cell((action,))
        assert cell.east_m == pytest.approx((action % 3 - 1) * 100)
        assert cell.north_m == pytest.approx((1 - action // 3) * 100)


def test_borders_belong_to_the_cell_east_or_south_and_the_square_owns_its_own():
    region = Region(0.0, 0.0, 400.0, grid=2, depth=1)
    assert tuple(region.encode_enu(0.0, 0.0)) == (3,)
    corners = [(-200.0, 200.0), (200.0, 200.0), (-200.0, -200.0), (200.0, -200.0)]
    assert [int(region.encode_enu(*c)[0]) for c in corners] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    'grid, depth', quick_first(3, [(2, 1), (3, 3), (5, 2), (2, 5), (4, 3), (7, 2), (8, 2)])
)
def test_centres_of_a_level_are_in_the_order_of_the_cell_index(grid, depth):
    region = Region(45.0, 7.0, 1000.0, grid=grid, depth=depth)
    for level in range(depth + 1):
        centres = region.centers(level)
        assert centres.shape == (region.branching**level, 2)
        by_cell = [region.cell(region.actions_of(level, i)) for i in range(len(centres))]
        np.testing.assert_allclose(centres, [(c.east_m, c.north_m) for c in by_cell], atol=1e-9)
        rows, columns = region.rows_columns(level, np.arange(len(centres)))
        assert len({*zip(rows.tolist(), columns.tolist(), strict=True)}) == len(centres)


def test_cells_of_mixed_levels_have_their_own_centres():
    region = Region(45.0, 7.0, 640.0, grid=4, depth=3)
    paths = [(), (5,), (15, 0), (3, 7, 11)]
    levels = np.array([len(p) for p in paths])
    centres = region.centers(levels, np.array([region.cell_index(p) for p in paths]))
    cells = [region.cell(p) for p in paths]
    np.testing.assert_allclose(centres, [(c.east_m, c.north_m) for c in cells])


def test_arrays_encode_like_scalars():
    region = Region(45.0, 7.0, 640.0)
    generator = np.random.default_rng(0)
    east, north = generator.uniform(-320, 320, (2, 3, 5))
    encoded = region.encode_enu(east, north)
    assert encoded.shape == (3, 5, 4)
    assert tuple(encoded[1, 2]) == tuple(region.encode_enu(east[1, 2], north[1, 2]))


# --- the index of cells ------------------------------------------------------------------------


def test_the_cell_index_reads_actions_as_digits():
    region = Region(45.0, 7.0, 640.0, grid=3, depth=3)
    assert region.cell_index(()) == 0
    assert region.cell_index((7,)) == 7
    assert region.cell_index((1, 2, 3)) == 1 * 81 + 2 * 9 + 3
    assert region.cell_index([8, 8, 8]) == 728 == region.cell_count(3) - 1
    several = np.array([[[0, 1], [1, 0]], [[8, 8], [4, 5]]])
    assert region.cell_index(several).tolist() == [[1, 9], [80, 41]]


def test_actions_of_undoes_the_cell_index_for_one_cell_and_for_many():
    region = Region(45.0, 7.0, 640.0, grid=3, depth=3)
    assert region.actions_of(0, 0) == ()
    assert region.actions_of(3, 102) == (1, 2, 3)
    assert region.actions_of(2, np.int64(41)) == (4, 5)
    every = np.arange(729).reshape(27, 27)
    actions = region.actions_of(3, every)
    assert actions.shape == (27, 27, 3)
    assert actions[3, 21].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(region.cell_index(actions), every)


def test_parents_and_children_are_those_of_the_actions():
    region = Region(45.0, 7.0, 640.0, grid=2, depth=4)
    index = region.cell_index((3, 0, 2, 1))
    assert index == 3 * 64 + 2 * 4 + 1
    assert region.parent(index) == region.cell_index((3, 0, 2)) == 50
    assert region.parent(index, 3) == 3
    assert region.parent(index, 4) == 0
    assert region.parent(index, 0) == index
    levels = np.array([0, 1, 2, 4])
    assert region.parent(index, levels).tolist() == [201, 50, 12, 0]
    assert region.children(50).tolist() == [200, 201, 202, 203]
    children = region.children(np.array([0, 50]))
    assert children.tolist() == [[0, 1, 2, 3], [200, 201, 202, 203]]
    np.testing.assert_array_equal(region.parent(children), [[0] * 4, [50] * 4])


def test_children_lie_within_their_parent():
    region = Region(45.0, 7.0, 810.0, grid=3, depth=2)
    parent = region.cell((4,))
    centres = region.centers(2, region.children(region.cell_index((4,))))
    assert np.abs(centres - (parent.east_m, parent.north_m)).max() == pytest.approx(90)


def test_a_cell_counts_its_terminal_cells():
    region = Region(45.0, 7.0, 810.0, grid=3, depth=3)
    assert [region.terminal_count(level) for level in range(4)] == [729, 81, 9, 1]
    assert region.terminal_count(np.array([3, 1])).tolist() == [1, 81]


@pytest.mark.parametrize('level, index', [(0, 1), (1, 9), (2, -1), (3, 729)])
def test_an_index_beyond_its_level_is_refused(level, index):
    region = Region(45.0, 7.0, 810.0, grid=3, depth=3)
    with pytest.raises(ConfigError, match=f'{index} is no cell of level {level}'):
        region.actions_of(level, index)


def test_one_impossible_row_of_actions_is_named():
    region = Region(45.0, 7.0, 810.0, grid=3, depth=3)
    with pytest.raises(ConfigError, match=r'\(2, 9\) is no cell'):
        region.cell_index(np.array([[0, 1], [2, 9]]))


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    'lat, lon', [(math.nan, 8.0), (50.0, math.nan), (51.0, 8.0), (95.0, 8.0), (50.0, -172.0)]
)
def test_points_outside_are_refused_by_name(lat, lon):
    region = Region(50.0, 8.0, 1000.0)
    with pytest.raises(OutsideRegionError, match='not inside the region'):
        region.encode(lat, lon)
    assert not region.contains(lat, lon)


def test_one_point_outside_spoils_an_array():
    region = Region(50.0, 8.0, 1000.0)
    with pytest.raises(OutsideRegionError, match='600.0 m east'):
        region.encode_enu([0.0, 600.0], [0.0, 0.0])


@pytest.mark.parametrize(
    'name, value',
    [
        ('latitude', math.nan),
        ('latitude', 90.5),
        ('latitude', 'north'),
        ('longitude', 181.0),
        ('longitude', None),
        ('side_m', 0.0),
        ('side_m', -5.0),
        ('side_m', math.inf),
        ('side_m', 1e7),
        ('grid', 1),
        ('grid', 9),
        ('grid', 4.0),
        ('depth', 0),
        ('depth', 9),
        ('depth', True),
        ('plane', 'mercator'),
    ],
)
def test_wrong_values_are_refused_by_name(name, value):
    values = {'latitude': 10.0, 'longitude': 20.0, 'side_m': 100.0, name: value}
    with pytest.raises(ConfigError, match=name):
        Region(**values)


@pytest.mark.parametrize('latitude', [90.0, -90.0, 89.999])
@pytest.mark.parametrize('plane', ['wgs84', 'sphere'])
def test_poles_are_refused(latitude, plane):
    with pytest.raises(ConfigError, match='pole'):
        Region(latitude, 0.0, 1000.0, plane=plane)


@pytest.mark.parametrize('actions', [(16,), (-1,), (0, 0, 0, 0, 0), (3, 99)])
def test_impossible_cells_are_refused(actions):
    region = Region(10.0, 20.0, 100.0)
    for use in (region.cell, region.cell_index):
        with pytest.raises(ConfigError, match='no cell'):
            use(actions)
