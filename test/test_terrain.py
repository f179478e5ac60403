"""Heights of the ground: sampled from a raster, kept in the map's folder, told with each fix."""

import json

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_bounds
from tiny import make_map

from justzoom_ros import Region
from justzoom_ros.cli.main import main
from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.maps.terrain import TERRAIN_NAME, build_terrain, read_terrain, write_terrain

REGION = Region(latitude=48.0, longitude=11.0, side_m=640.0, grid=4, depth=3)
PLACE = 16.0 * np.eye(2)


def plane_m(latitude, longitude):
    """A slope: 20 m up to the east over the region, 10 m down to the north."""
    east, north = REGION.to_enu(latitude, longitude)
    return 500.0 + 20.0 * east / 640.0 - 10.0 * north / 640.0


@pytest.fixture
def raster(tmp_path):
    """Heights in degrees, as they come, coarse and wider than the map."""
    west, south, east, north, n = 10.99, 47.993, 11.01, 48.007, 100
    longitude = west + (np.arange(n) + 0.5) * (east - west) / n
    latitude = north - (np.arange(n) + 0.5) * (north - south) / n
    heights = plane_m(*np.meshgrid(latitude, longitude, indexing='ij')).astype(np.float32)
    path = tmp_path / 'dem.tif'
    profile = {
        'driver': 'GTiff',
        'width': n,
        'height': n,
        'count': 1,
        'dtype': 'float32',
        'crs': 'EPSG:4326',
        'transform': from_bounds(west, south, east, north, n, n),
    }
    with rasterio.open(path, 'w', **profile) as file:
        file.write(heights, 1)
    return path


def test_the_height_of_the_ground_comes_from_the_raster_and_the_geoid(raster):
    terrain = build_terrain(raster, REGION, std_m=2.0, geoid_m=46.0)
    for east, north in ((0.0, 0.0), (-200.0, 130.0), (310.0, -310.0)):
        height, std = terrain.altitude(east, north, PLACE)
        assert height == pytest.approx(plane_m(*REGION.to_latlon(east, north)) + 46.0, abs=0.1)
        slope = np.array([20.0, -10.0]) / 640.0
        assert std == pytest.approx(np.sqrt(4.0 + slope @ PLACE @ slope), rel=0.02)
    assert terrain.altitude(1000.0, 0.0, PLACE) is None


def test_heights_come_back_from_the_maps_folder(raster, tmp_path):
    assert read_terrain(tmp_path, REGION, 'this') is None
    terrain = build_terrain(raster, REGION, std_m=2.0)
    write_terrain(tmp_path, 'this', terrain)
    found = read_terrain(tmp_path, REGION, 'this')
    np.testing.assert_array_equal(found.heights_m, terrain.heights_m)
    assert found.std_m == 2.0
    with pytest.raises(MapError, match='another map'):
        read_terrain(tmp_path, REGION, 'that')
    (tmp_path / TERRAIN_NAME).write_bytes(b'no raster')
    with pytest.raises(MapError, match='justzoom map terrain'):
        read_terrain(tmp_path, REGION, 'this')


def test_the_command_keeps_heights_and_says_what_they_are(raster, tmp_path, capsys):
    map = make_map(tmp_path, REGION)
    assert (
        main(['map', 'terrain', str(map.path), '--dem', str(raster), '--std', '3', '--json']) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found['covered'] == 1.0 and found['std_m'] == 3.0
    assert (found['lowest_m'], found['highest_m']) == pytest.approx((485.0, 515.0), abs=1.0)
    terrain = read_terrain(map.path, REGION, map.checksum)
    assert terrain.altitude(0.0, 0.0, PLACE)[0] == pytest.approx(500.0, abs=0.1)
    assert main(['map', 'terrain', str(map.path), '--dem', 'nowhere.tif', '--std', '3']) == 2
    assert 'does not exist' in capsys.readouterr().err


def test_what_is_no_use_is_an_error(raster):
    with pytest.raises(ConfigError, match='greater than 0'):
        build_terrain(raster, REGION, std_m=0.0)
    with pytest.raises(MapError, match='no heights where the map is'):
        build_terrain(raster, Region(10.0, 10.0, 640.0), std_m=1.0)
    with pytest.raises(MapError, match='does not exist'):
        build_terrain('nowhere.tif', REGION, std_m=1.0)


def test_there_is_no_height_where_the_raster_has_none(raster):
    with rasterio.open(raster, 'r+') as file:
        heights = file.read(1)
        heights[:, 50:] = -9999
        file.nodata = -9999
        file.write(heights, 1)
    terrain = build_terrain(raster, REGION, std_m=2.0)
    assert terrain.altitude(200.0, 0.0, PLACE) is None
    assert terrain.altitude(-200.0, 0.0, PLACE) is not None
