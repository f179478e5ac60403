"""The invented town: the same for the same seed, lit by one sun, in its place on the earth."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from math import pi, radians
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from quick import quick_first

from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.worlds.town import (
    DEMO_REGION,
    FLIGHT_DAY,
    SURVEY_DAY,
    landscape,
    write_geotiff,
)
from justzoom_ros.worlds.town.canvas import Day
from justzoom_ros.worlds.town.paint import paint
from justzoom_ros.worlds.town.plan import Building, Plan
from justzoom_ros.worlds.town.planner import make_plan

DEMO_MAP = Path(__file__).resolve().parents[1] / 'maps' / 'demo'
SMALL = {'side_m': 200.0, 'resolution_m': 1.0}


@pytest.fixture(scope='module')
def survey():
    return landscape(resolution_m=0.5)


@pytest.fixture(scope='module')
def flight():
    return landscape(resolution_m=0.5, day=FLIGHT_DAY)


def digest(pixels):
    return hashlib.sha256(pixels).hexdigest()


def edges(pixels):
    """How steep the grey levels are, which no sun turns round."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))


# --- one seed, one town --------------------------------------------------------------------------


@pytest.fixture(scope='module')
def small():
    return digest(landscape(5, **SMALL))


@pytest.mark.slow
def test_same_seed_same_bytes_in_this_process_and_in_another(small):
    assert small == digest(landscape(5, **SMALL))
    code = (
        'import hashlib; from justzoom_ros.worlds.town import landscape; '
        'print(hashlib.sha256(landscape(5, side_m=200.0, resolution_m=1.0)).hexdigest())'
    )
    there = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert there.stdout.strip() == small, there.stderr


@pytest.mark.slow
def test_another_seed_is_another_town(small):
    assert small != digest(landscape(6, **SMALL))


@pytest.mark.parametrize(
    ('side_m', 'resolution_m', 'px'), quick_first(1, [(160, 0.8, 200), (300, 1.5, 200)])
)
def test_size_and_resolution_are_as_asked(side_m, resolution_m, px):
    picture = landscape(1, side_m, resolution_m)
    assert picture.shape == (px, px, 3)
    assert picture.dtype == np.uint8


@pytest.mark.slow
def test_the_committed_map_is_this_town():
    """JPEG costs three grey levels; another town would cost thirty."""
    kept = SatelliteMap.open(DEMO_MAP)
    assert kept.region == DEMO_REGION
    assert kept.mask.all()
    drawn = cv2.resize(landscape(), kept.mask.shape, interpolation=cv2.INTER_AREA)
    assert np.abs(drawn.astype(int) - kept.pixels).mean() < 4


# --- what is in it -------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_place_of_sixty_metres_is_blank(survey):
    patches = survey[:1200, :1200].reshape(10, 120, 10, 120, 3).swapaxes(1, 2)
    spread = patches.reshape(100, -1, 3).std(axis=1).mean(axis=1)
    assert spread.min() > 6


@pytest.mark.slow
def test_a_town_has_what_a_town_needs():
    plan = make_plan(7, 640.0)
    assert len(plan.buildings) > 150
    assert len(plan.trees) > 2000
    uses = {area.use for area in plan.areas}
    assert {'garden', 'pitch', 'pond', 'plaza', 'forest_floor', 'soil', 'paving'} <= uses
    assert {'arterial', 'street', 'lane', 'track', 'path'} <= {road.kind for road in plan.roads}


@pytest.mark.slow
@pytest.mark.parametrize('seed', [1, 7, 23])
def test_no_building_stands_on_a_road(seed):
    plan = make_plan(seed, 500.0)
    middles = np.array([[b.east_m, b.north_m] for b in plan.buildings])
    nearest_m = np.full(len(middles), np.inf)
    for road in plan.roads:
        if road.kind in ('arterial', 'street', 'lane'):
            away_m = np.linalg.norm(middles[:, None] - road.path[None], axis=2).min(axis=1)
            nearest_m = np.minimum(nearest_m, away_m - road.width_m / 2)
    half_widths_m = np.array([b.width_m / 2 for b in plan.buildings])
    assert (nearest_m > half_widths_m - 0.5).all()


# --- light ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('yaw_rad', [0.0, pi / 2, radians(210)])
def test_a_shadow_is_as_long_as_the_sun_says_and_away_from_it(yaw_rad):
    """A roof 10 m high under a sun at 45 degrees throws a shadow of 10 m."""
    plan = Plan(80.0, buildings=[Building(0, 0, yaw_rad, 12, 12, 'flat', 10.0, 0.0, (150,) * 3)])
    day = Day(yaw_rad, pi / 4, autumn=0.0, seed=1)
    brightness = cv2.GaussianBlur(paint(plan, day, 0.25), (0, 0), 3).mean(axis=2)

    def at(distance_m):
        """Brightness beyond the wall that faces away from the sun; negative: before the other."""
        reach_m = np.sign(distance_m) * 6.5 + distance_m
        east, north = -reach_m * np.cos(yaw_rad), -reach_m * np.sin(yaw_rad)
        return brightness[round((40 - north) / 0.25), round((40 + east) / 0.25)]

    lit = np.mean([at(15), at(20), at(-5), at(-15)])
    assert max(at(3), at(7)) < 0.7 * lit
    assert min(at(13), at(-4)) > 0.8 * lit


@pytest.mark.slow
def test_two_days_show_the_same_town_in_another_light(survey, flight):
    shift, _ = cv2.phaseCorrelate(edges(survey), edges(flight))
    assert np.hypot(*shift) < 0.5
    assert 8 < np.abs(survey.astype(int) - flight).mean() < 60


@pytest.mark.slow
def test_cars_move_between_days_and_houses_do_not():
    plan = make_plan(7, 320.0)
    same_light = [paint(plan, replace(SURVEY_DAY, seed=seed), 1.0) for seed in (1, 2)]
    change = np.abs(same_light[0].astype(int) - same_light[1]).max(axis=2)
    assert 0.002 < (change > 60).mean() < 0.1
    for building in plan.buildings:
        row, column = round(160 - building.north_m), round(160 + building.east_m)
        if min(row, column) > 2 and max(row, column) < 318 and not _under_a_tree(plan, building):
            assert change[row, column] < 60


def _under_a_tree(plan, building):
    return any(
        np.hypot(t.east_m - building.east_m, t.north_m - building.north_m) < t.radius_m + 2
        for t in plan.trees
    )


# --- its place on the earth ----------------------------------------------------------------------


def test_the_geotiff_lies_where_the_region_is(tmp_path):
    pixels = landscape(3, **SMALL)
    region = replace(DEMO_REGION, side_m=200.0)
    write_geotiff(pixels, region, tmp_path / 'town.tif')
    with rasterio.open(tmp_path / 'town.tif') as file:
        assert np.array_equal(file.read().transpose(1, 2, 0), pixels)
        to_degrees = Transformer.from_crs(file.crs, 'OGC:CRS84', always_xy=True)
        longitude, latitude = to_degrees.transform(*file.xy(30, 170))
    east_m, north_m = region.to_enu(latitude, longitude)
    # Pixel centres: row 30 is 30.5 m below the northern border, 100 m north of the middle.
    assert (east_m, north_m) == pytest.approx((70.5, 69.5), abs=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ['town.tif']
