"""Short flights and drives for evidence: what is kept of them is what was seen."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from justzoom_ros.errors import ConfigError
from justzoom_ros.evaluation.promise import read_sequence
from justzoom_ros.io.stamps import NS_PER_S
from justzoom_ros.region import Region
from justzoom_ros.worlds.city.route import STEP_S, Ride
from justzoom_ros.worlds.short_drives import (
    ShortDrive,
    ShortDriveConfig,
    decode,
    follow,
    frames_of,
)
from justzoom_ros.worlds.short_flights import places_m
from justzoom_ros.worlds.short_sequences import START_NS, write_sequence

REGION = Region(latitude=48.0, longitude=11.0, side_m=640.0, grid=4, depth=3)
LOCATED = dict(status='fix', reason='', confidence=0.9)


def straight_ride(speed_m_s=8.0, seconds=10.0):
    time_s = np.arange(0, seconds, STEP_S)
    zero = np.zeros_like(time_s)
    speed = np.full_like(time_s, speed_m_s)
    return Ride(time_s, speed_m_s * time_s, zero, zero, speed, zero, zero)


def test_a_drive_has_an_image_each_so_many_metres():
    ride = straight_ride()
    samples = frames_of(ride, ShortDriveConfig(frames=20, step_m=10.0))
    np.testing.assert_allclose(ride.east_m[samples], np.arange(9) * 10.0, atol=0.2)
    assert len(frames_of(ride, ShortDriveConfig(frames=3, step_m=10.0))) == 3


def some_drive():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (1, 1, 3), np.uint8).repeat(16, 0).repeat(16, 1) for _ in 'abc']
    seconds = np.arange(0, 3, 0.1)
    odometry = np.stack([seconds, 8 * seconds, 0 * seconds, 0 * seconds], 1)
    stamps_ns = START_NS + np.array([0, 1, 2]) * NS_PER_S
    return images, ShortDrive([jpeg(one) for one in images], stamps_ns, np.eye(3), odometry)


def jpeg(image):
    from io import BytesIO

    file = BytesIO()
    Image.fromarray(image).save(file, 'JPEG', quality=95)
    return np.frombuffer(file.getvalue(), np.uint8)


def test_a_drive_is_what_was_saved_of_it(tmp_path):
    images, drive = some_drive()
    drive.save(tmp_path / 'drive.npz')
    again = ShortDrive.load(tmp_path / 'drive.npz')
    for name in ('stamps_ns', 'truth', 'odometry'):
        np.testing.assert_array_equal(getattr(again, name), getattr(drive, name))
    for data, image in zip(again.jpegs, images, strict=True):
        assert np.abs(decode(data).astype(int) - image).max() < 12


def test_a_tracker_hears_the_odometry_before_the_image_of_that_time():
    heard = []
    tracker = SimpleNamespace(
        reset=lambda: None,
        odometry=SimpleNamespace(reset=lambda: None),
        add_odometry=lambda pose: heard.append(pose.stamp_ns),
        locate=lambda image, stamp_ns: (stamp_ns, max(heard)),
    )
    for stamp_ns, latest_ns in follow(tracker, some_drive()[1]):
        assert stamp_ns <= latest_ns <= stamp_ns + 0.11 * NS_PER_S


def test_fixes_are_read_as_they_were_written(tmp_path):
    """The truth is 3 m west and 4 m south of the fix."""
    latitude, longitude = REGION.to_latlon(103.0, 54.0)
    fix = SimpleNamespace(
        **LOCATED, latitude=latitude, longitude=longitude, covariance_m2=np.diag([9.0, 4.0])
    )
    path = tmp_path / 'town_1' / '0000' / 'fixes.csv'
    write_sequence(path, [fix, fix], np.array([[100.0, 50.0]] * 2), REGION)
    found = read_sequence(path)
    np.testing.assert_allclose(found.off_m, [[-3.0, -4.0]] * 2, atol=0.01)
    assert found.squared == pytest.approx(1 + 4, rel=0.01)
    assert found.place == str(tmp_path / 'town_1')
    assert len(list(csv.reader(path.open()))) == 3


def test_a_map_that_is_off_moves_the_truth():
    frames = [SimpleNamespace(pose=SimpleNamespace(east_m=1.0, north_m=2.0))]
    np.testing.assert_allclose(places_m(frames, (5.0, -5.0)), [[6.0, -3.0]])


def test_cities_that_are_kept_back_are_refused():
    with pytest.raises(ConfigError, match='kept back'):
        ShortDriveConfig().city(950)
