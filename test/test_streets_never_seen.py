"""The shipped forward weights in a generated city that they never saw."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from justzoom_ros.cli.main import main
from justzoom_ros.errors import ConfigError
from justzoom_ros.evaluation.image_camera import common_camera
from justzoom_ros.inference.multi_view import Mount
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.live.camera_config import CameraConfig
from justzoom_ros.localizer import Localizer
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.region import Region
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.camera_state import CameraState
from justzoom_ros.registration.forward_lift import Tilt
from justzoom_ros.registration.image_columns import has_scale, tilt_of
from justzoom_ros.worlds.city.city import make_city
from justzoom_ros.worlds.city.dataset import orthophoto
from justzoom_ros.worlds.city.shots import Photographer, jpeg
from justzoom_ros.worlds.town import write_geotiff

SEED, SIDE_M = 840, 320.0


@pytest.fixture(scope='module')
def city():
    return make_city(SEED, SIDE_M)


@pytest.fixture(scope='module')
def region():
    return Region(40.0, -40.0, SIDE_M, 4, 2)


@pytest.fixture(scope='module')
def localizer(city, region, tmp_path_factory):
    folder = tmp_path_factory.mktemp('city')
    write_geotiff(orthophoto(city, region, 1.0), region, folder / 'ortho.tif')
    SatelliteMap.build(folder / 'ortho.tif', region, folder / 'map', crop_px=80)
    return Localizer.open(folder / 'map', camera=Camera.from_fov(1.5, ahead=True), progress=False)


@pytest.fixture(scope='module')
def places(city, region):
    """Four views all round each of some places: pictures, mounts, true position."""
    photographer = Photographer(city, region, (240, 135), 0.0, fov_deg=(90, 90))
    found = []
    for number in range(5):
        shots = photographer.rig('val', number, 4)
        pictures = [
            cv2.imdecode(
                np.frombuffer(jpeg(photographer.scene(shot.day), shot), np.uint8), cv2.IMREAD_COLOR
            )[..., ::-1]
            for shot in shots
        ]
        first = shots[0].camera.yaw_rad
        mounts = [Mount(shot.camera.yaw_rad - first, math.pi / 2) for shot in shots]
        found.append((pictures, mounts, shots[0].camera.eye_m[:2], first))
    return found


@pytest.mark.slow
def test_four_views_know_their_place_and_heading(localizer, places):
    errors, turns = [], []
    for pictures, mounts, truth_m, yaw_rad in places:
        state = CameraState(Camera.from_fov(math.pi / 2, ahead=True))
        fix = localizer.locate_rig(pictures, mounts, state=state)
        errors.append(math.hypot(fix.east_m - truth_m[0], fix.north_m - truth_m[1]))
        turns.append(abs(math.remainder((fix.yaw_rad or 0.0) - yaw_rad, 2 * math.pi)))
    assert np.median(errors) < 3.0
    assert np.median(turns) < math.radians(3)
    assert localizer.method == 'registration'


@pytest.mark.slow
def test_a_lens_cap_is_no_fix(localizer):
    assert localizer.locate(np.zeros((135, 240, 3), np.uint8)).status == 'no_fix'


def test_a_camera_that_looks_ahead_needs_its_lens_alone():
    assert has_scale(Camera.from_fov(1.5, ahead=True))
    assert not has_scale(Camera(ahead=True))
    assert common_camera([Camera.from_fov(1.5, ahead=True)]).ahead


def test_the_node_takes_a_pitch_near_the_horizon_for_a_camera_that_looks_ahead():
    config = CameraConfig(fov_rad=1.5, tilt=Tilt(math.radians(-5)))
    config.check()
    camera = config.expected_camera()
    assert camera is not None
    assert camera.ahead
    forward = config.body_from_camera[:, 2]
    assert forward == pytest.approx([math.cos(math.radians(5)), 0, -math.sin(math.radians(5))])
    with pytest.raises(ConfigError, match='camera_fov_deg'):
        CameraConfig(tilt=Tilt()).check()


def test_the_tilt_of_an_image_is_in_its_columns():
    columns = {'pitch_deg': '3.0', 'roll_deg': '-1.0'}
    image = GeoImage('a', Path('a.jpg'), 0.0, 0.0, None, 'a.csv:2', columns)
    assert tilt_of(image) == Tilt(math.radians(3), math.radians(-1))


@pytest.mark.parametrize('options', [[], ['--fov', '90', '--height', '3']])
def test_options_of_a_camera_that_looks_ahead_are_checked(options, capsys):
    status = main(['localize', 'a.jpg', '--map', 'maps/city', '--ahead', *options])
    assert status == 2
    message = capsys.readouterr().err
    assert message.count('\n') == 1
    assert '--ahead' in message
