"""The generated city: geometry against independent projections, the dataset, the drives."""

import csv
import hashlib
import json
import subprocess
import sys
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest
import rasterio
import yaml
from imagery import enu_by_geodesic
from PIL import Image
from pyproj import Transformer

from justzoom_ros.cli.main import main
from justzoom_ros.errors import ConfigError, DatasetError
from justzoom_ros.io.bags import Bag, read_track
from justzoom_ros.io.datasets import read_images
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.region import Region
from justzoom_ros.worlds.city.camera import Camera, Panorama
from justzoom_ros.worlds.city.caster import GROUND, SKY, trace
from justzoom_ros.worlds.city.city import LANES_M, make_city
from justzoom_ros.worlds.city.config import CityConfig
from justzoom_ros.worlds.city.dataset import MAP_DAY_S, make_dataset, row_of
from justzoom_ros.worlds.city.light import Moment, light, sun_direction
from justzoom_ros.worlds.city.render import see, see_from_above
from justzoom_ros.worlds.city.route import ride
from justzoom_ros.worlds.city.scene import (
    BALL,
    BASE,
    BOX,
    BUILDING,
    CONE,
    COS,
    EAVE,
    HEDGE,
    KX,
    KY,
    LEAF,
    SIN,
    TOP,
    A,
    B,
    X,
    Y,
)  # fmt: skip
from justzoom_ros.worlds.city.shots import BUFFER_M, Photographer, Shot, choose_kept_back

pytestmark = pytest.mark.slow  # kernels are compiled when first used: half a minute

TINY = CityConfig(
    seed=5, side_m=240.0, depth=2, resolution_m=0.5, crop_px=60, train=6, val=3, blocks=3,
    other_city=2, size_px=(96, 64), drives=1, drive_s=6.0, drive_hz=2.0,
    panoramas=4, cameras=2,
)  # fmt: skip


@pytest.fixture(scope='module')
def city():
    return make_city(5, 240.0)


@pytest.fixture(scope='module')
def scene(city):
    return city.scene(1)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp('city') / 'data'
    make_dataset(out, TINY)
    return out


@pytest.fixture(scope='module')
def rows(dataset):
    return list(csv.DictReader((dataset / 'metadata.csv').open()))


def files_of(folder):
    """{relative path: SHA-256} of all files below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def noon(weather='overcast'):
    return light(Moment(MAP_DAY_S, 40.0, -40.0, weather))


# --- geometry ------------------------------------------------------------------------------------


def project(row, points):
    """Pixels (N, 2) of points (N, 3) east, north, up of 40 N, 40 W, from a row of metadata.csv
    alone: heading clockwise from north, pitch up, roll clockwise, the camera matrix."""
    number = {name: float(row[name]) for name in row if name.endswith(('_px', '_deg', '_m'))}
    east, north = enu_by_geodesic(float(row['latitude']), float(row['longitude']), (40.0, -40.0))
    offset = np.asarray(points) - [east, north, number['camera_height_m']]
    # First turn the world so that the heading is ahead, then pitch about the camera's right,
    # then roll about its axis.
    ahead, right = turned(offset[:, 1], offset[:, 0], np.radians(number['heading_deg']))
    ahead, up = turned(ahead, offset[:, 2], np.radians(number['pitch_deg']))
    x, y = turned(right, -up, np.radians(number['roll_deg']))
    u = number['fx_px'] * x / ahead + number['cx_px']
    v = number['fy_px'] * y / ahead + number['cy_px']
    return np.stack([u, v], axis=1)


def turned(x, y, angle):
    """(x, y) seen from axes turned by an angle from x to y."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return x * cosine + y * sine, y * cosine - x * sine


def corners(shape):
    """The eight corners of a flat box (8, 3)."""
    ahead = np.array([shape[COS], shape[SIN]])
    left = np.array([-ahead[1], ahead[0]])
    signs = ((-1, -1), (-1, 1), (1, -1), (1, 1))
    level = [shape[[X, Y]] + i * shape[A] * ahead + j * shape[B] * left for i, j in signs]
    return np.array([[*point, up] for point in level for up in (shape[BASE], shape[TOP])])


def alone(scene, number):
    """The scene without all solids but one."""
    shape = scene.shape.copy()
    shape[np.arange(len(shape)) != number, X] = 1e6
    return scene._replace(shape=shape)


def flat_building(scene):
    """The number of a flat-roofed building near the middle."""
    flat = (scene.look[:, 0] == BUILDING) & (scene.shape[:, KY] == 0) & (scene.shape[:, BASE] == 0)
    numbers = np.flatnonzero(flat & (scene.kind == BOX))
    return int(numbers[np.argmin(np.hypot(*scene.shape[numbers][:, [X, Y]].T))])


@pytest.mark.parametrize('turn', [0.4, 1.9, -2.3])
def test_a_building_fills_the_pixels_that_an_independent_projection_says(city, scene, turn):
    number = flat_building(scene)
    box = scene.shape[number].astype(float)
    eye = np.array([box[X] - 45 * np.cos(turn), box[Y] - 45 * np.sin(turn), 1.7])
    camera = Camera(eye, turn + 0.1, 0.11, -0.07, (320, 240), 1.5)
    region = Region(40.0, -40.0, 4 * city.side_m, 4, 2)
    row = row_of(shot_of(camera), region)
    _, met = see(alone(scene, number), noon(), camera, smooth=False)
    hull = cv2.convexHull(project(row, corners(box)).astype(np.float32))
    y, x = np.mgrid[:240, :320]
    inside = [
        cv2.pointPolygonTest(hull, (float(u), float(v)), True)
        for u, v in zip(x.ravel(), y.ravel(), strict=True)
    ]
    inside = np.array(inside).reshape(240, 320)
    assert (inside > 1).sum() > 500
    assert (met[inside > 1.0] == number).all()
    assert (met[inside < -1.0] != number).all()


def shot_of(camera):
    day = type('Day', (), {'traffic_seed': 1})()
    return Shot('x', 'train', camera, day, Moment(MAP_DAY_S, 40.0, -40.0), None)


def test_a_landmark_rises_to_the_pixel_that_an_independent_projection_says(city, scene):
    _, east, north, top = max(city.landmarks, key=lambda landmark: landmark[3])
    # Through a long lens, for spires end in a point.
    pitch = np.arctan((top - 60) / np.hypot(160, 90)) - 0.05
    camera = Camera(np.array([east - 160, north - 90, 60.0]), 0.55, pitch, 0.05, (640, 480), 0.5)
    row = row_of(shot_of(camera), Region(40.0, -40.0, 8 * city.side_m, 4, 2))
    u, v = project(row, np.array([[east, north, top]]))[0]
    _, met = see(scene, noon(), camera, smooth=False)
    here = np.hypot(scene.shape[:, X] - east, scene.shape[:, Y] - north) < 12
    part = (met >= 0) & here[np.maximum(met, 0)] & (scene.look[np.maximum(met, 0), 0] != LEAF)
    assert 0 < u < 640 and 0 < v < 480
    assert np.argwhere(part)[0] == pytest.approx([v, u], abs=2.5)


def test_a_building_lies_in_the_orthophoto_where_it_stands(scene):
    number = flat_building(scene)
    box = scene.shape[number].astype(float)
    dark = noon()._replace(sun_rgb=np.zeros(3))
    above = [
        np.concatenate(list(see_from_above(one, dark, 240.0, 0.5)))
        for one in (alone(scene, number), alone(scene, -1))
    ]
    changed = (above[0] != above[1]).any(axis=-1)
    pixels = (corners(box)[::2, :2] * [1, -1] + 120.0) / 0.5 - 0.5
    truth = np.zeros_like(changed, np.uint8)
    hull = cv2.convexHull(np.round(pixels * 16).astype(np.int32))
    cv2.fillConvexPoly(truth, hull, 1, shift=4)
    border = cv2.dilate(truth, np.ones((3, 3))) != cv2.erode(truth, np.ones((3, 3)))
    assert truth.sum() > 200
    assert (changed == (truth == 1))[~border].all()


def test_the_orthophoto_is_georeferenced(dataset, city):
    scene = city.scene(0)
    box = scene.shape[flat_building(scene)].astype(float)
    with rasterio.open(dataset / 'ortho.tif') as file:
        assert file.res == (0.5, 0.5) and file.shape == (480, 480)
        region = TINY.region
        to_file = Transformer.from_crs(4326, file.crs, always_xy=True)
        lat, lon = region.to_latlon(box[X], box[Y])
        row, column = file.index(*to_file.transform(lon, lat))
        pixels = file.read().transpose(1, 2, 0).astype(float)
    assert (row, column) == (int((120 - box[Y]) / 0.5), int((120 + box[X]) / 0.5))
    built = SatelliteMap.open(dataset / 'map')
    assert built.region == region and built.level_coverage(0).min() == 1.0
    small = cv2.resize(pixels, built.pixels.shape[:2], interpolation=cv2.INTER_AREA)
    assert np.abs(small - built.pixels).mean() < 3.0


def test_rays_stop_at_the_first_solid_and_not_before(scene):
    """Against points along the ray tested one by one."""
    rng = np.random.default_rng(0)
    reach = np.hypot(scene.shape[:, A], scene.shape[:, B]) + 1
    hits = 0
    for _ in range(60):
        eye = np.append(rng.uniform(-100, 100, 2), rng.uniform(2, 30))
        ray = rng.normal(size=3) * [1, 1, 0.2]
        ray /= np.linalg.norm(ray)
        distance, number, _ = trace(scene, 0.0, *eye, *ray)
        length = min(distance, 150.0)
        # Leaves have holes, so only what is solid is asked for.
        way = np.abs((scene.shape[:, X] - eye[0]) * ray[1] - (scene.shape[:, Y] - eye[1]) * ray[0])
        near = (way < reach * np.hypot(*ray[:2])) & ~np.isin(scene.look[:, 0], (LEAF, HEDGE))
        if inside_any(scene, near, eye[None], 0.0).any():
            continue
        points = eye + np.arange(0.05, length - 0.02, 0.03)[:, None] * ray
        assert not inside_any(scene, near, points, 0.01).any()
        if number == GROUND:
            assert eye[2] + distance * ray[2] == pytest.approx(0, abs=1e-6)
        if number >= 0 and near[number]:
            only = np.arange(len(near)) == number
            assert inside_any(scene, only, (eye + (distance + 0.01) * ray)[None], -0.02).all()
            hits += 1
    assert hits > 15


def inside_any(scene, chosen, points, shrink_m):
    """Bool (N,): is a point at least `shrink_m` deep in any chosen solid? In float64, slowly."""
    found = np.zeros(len(points), bool)
    for number in np.flatnonzero(chosen):
        s = scene.shape[number].astype(float)
        px, py, z = (points - [s[X], s[Y], 0]).T
        x, y = np.abs(s[COS] * px + s[SIN] * py), np.abs(s[COS] * py - s[SIN] * px)
        if scene.kind[number] == BOX:
            gap = np.max([x - s[A], y - s[B], s[BASE] - z, z - s[TOP]], axis=0)
            for k, half, at in ((s[KX], s[A], x), (s[KY], s[B], y)):
                if k:
                    gap = np.maximum(gap, (z - s[EAVE] - k * (half - at)) / np.hypot(1, k))
        elif scene.kind[number] == CONE:
            share = (z - s[BASE]) / (s[TOP] - s[BASE])
            gap = np.max(
                [np.hypot(x, y) - s[A] - share * (s[B] - s[A]), s[BASE] - z, z - s[TOP]], axis=0
            )
        else:
            assert scene.kind[number] == BALL
            size = np.sqrt((x**2 + y**2) / s[A] ** 2 + (z - s[BASE]) ** 2 / s[B] ** 2)
            gap = (size - 1) * min(s[A], s[B])
        found |= gap < -shrink_m
    return found


# --- light ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('when', 'latitude', 'longitude', 'elevation', 'azimuth'),
    [
        # Noon by the sun on known days: 90 - latitude + declination.
        ((2025, 3, 20, 12, 0), 40.0, 0.0, 50.0, 180.0),
        ((2025, 6, 21, 12, 0), 40.0, 0.0, 73.4, 180.0),
        ((2025, 12, 21, 14, 40), 40.0, -40.0, 26.6, 180.0),
        ((2025, 6, 21, 12, 0), -41.0, 0.0, 25.6, 0.0),
        ((2025, 3, 20, 18, 0), 10.0, 0.0, 0.0, 270.0),
    ],
)
def test_the_sun_stands_where_it_does(when, latitude, longitude, elevation, azimuth):
    stamp_s = datetime(*when, tzinfo=timezone.utc).timestamp()
    east, north, up = sun_direction(stamp_s, latitude, longitude)
    assert np.degrees(np.arcsin(up)) == pytest.approx(elevation, abs=1.2)
    assert np.cos(np.arctan2(east, north) - np.radians(azimuth)) > np.cos(np.radians(2.5))


def test_shadows_point_away_from_the_sun(scene):
    number = flat_building(scene)
    box = scene.shape[number].astype(float)
    one, none = alone(scene, number), alone(scene, -1)
    sunny = noon('clear')
    dark = []
    for view in (one, none):
        view = view._replace(openness=np.full_like(view.openness, 255))
        strips = list(see_from_above(view, sunny, 240.0, 1.0))
        dark.append(np.concatenate(strips).mean(-1))
    y, x = np.mgrid[:240, :240]
    shadow = dark[0] < 0.75 * dark[1]
    shadow &= np.hypot(x - 119.5 - box[X], 119.5 - y - box[Y]) < 80
    middle = np.array([(x[shadow] - 119.5).mean(), (119.5 - y[shadow]).mean()]) - box[[X, Y]]
    assert shadow.sum() > 20
    assert middle @ sunny.sun[:2] < 0


# --- the dataset ---------------------------------------------------------------------------------


def test_the_published_reader_takes_it(dataset):
    for split, count in (('train', 6), ('val', 6), ('blocks', 6)):
        images = read_images(dataset / 'metadata.csv', {'split': split}, TINY.region)
        assert len(images) == count
        assert all(image.load().shape == (64, 96, 3) for image in images)
    other = SatelliteMap.open(dataset / 'other_city' / 'map').region
    images = read_images(dataset / 'other_city' / 'metadata.csv', region=other)
    assert [image.id for image in images] == [
        f'other_city_00000{place}{camera}' for place in (0, 1) for camera in ('', '_1')
    ]
    with Image.open(images[0].path) as picture:
        assert picture.format == 'JPEG'


def test_rows_agree_with_the_region(dataset, rows):
    region = SatelliteMap.open(dataset / 'map').region
    for row in rows:
        lat, lon = float(row['latitude']), float(row['longitude'])
        assert row['sequence'] == str(list(region.encode(lat, lon)))
        assert 0 <= float(row['heading_deg']) < 360
        half = float(row['width_px']) / 2
        fov = 2 * np.degrees(np.arctan(half / float(row['fx_px'])))
        assert fov == pytest.approx(float(row['fov_deg']), abs=0.01)
        assert 59.9 < fov < 110.1 and 1.1 < float(row['camera_height_m']) < 2.8


def test_val_has_other_days_and_blocks_other_places(rows, city):
    days = {s: {r['stamp'][:10] for r in rows if r['split'] == s} for s in ('train', 'val')}
    assert not days['train'] & days['val']
    plots = [
        city.plots[n].outline.astype(np.float32) for n in choose_kept_back(city, TINY.held_share)
    ]
    assert plots
    for row in rows:
        point = enu_by_geodesic(float(row['latitude']), float(row['longitude']), (40.0, -40.0))
        gaps = [-cv2.pointPolygonTest(outline, point, True) for outline in plots]
        assert (min(gaps) < BUFFER_M + 0.05) == (row['split'] == 'blocks')


def test_cameras_stand_on_the_ground_clear_of_everything(city):
    who = Photographer(city, TINY.region, (96, 64))
    for number in range(20):
        shot = who.shot('train', number)
        scene = who.scene(shot.day)
        point = np.append(shot.camera.eye_m[:2], 0.05)
        solid = ~np.isin(scene.look[:, 0], (LEAF, HEDGE))
        here = np.hypot(scene.shape[:, X] - point[0], scene.shape[:, Y] - point[1]) < 60
        column = point + np.linspace(0, 3, 30)[:, None] * [0, 0, 1]
        assert not inside_any(scene, solid & here, column, 0.0).any()


def test_fields_of_view_are_those_asked_for(city):
    fixed = Photographer(city, TINY.region, (96, 64), fov_deg=(85.0, 85.0))
    plain = Photographer(city, TINY.region, (96, 64))
    for number in range(5):
        one, other = (who.shot('val', number).camera for who in (fixed, plain))
        assert np.degrees(one.fov_rad) == pytest.approx(85)
        assert 60 <= np.degrees(other.fov_rad) <= 110
        assert np.array_equal(one.eye_m, other.eye_m) and one.yaw_rad == other.yaw_rad


def test_same_seed_same_bytes_after_an_interruption_and_with_threads(dataset, tmp_path):
    def stop(items, name, total):
        for number, item in enumerate(items):
            if (name, number) == ('train', 2):
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path / 'again', TINY, progress=stop)
    images = tmp_path / 'again' / 'streetview' / 'images'
    assert 2 <= len(list(images.iterdir())) < TINY.train  # the others were not even begun
    make_dataset(tmp_path / 'again', TINY, workers=2)
    first, again = files_of(dataset), files_of(tmp_path / 'again')
    assert first == again
    assert len(first) > 20 and any(name.endswith('.mcap') for name in first)
    pictures = [value for name, value in first.items() if name.endswith('.jpg')]
    assert len(set(pictures)) == len(pictures)


def test_an_interrupted_run_goes_on_where_it_stopped(dataset):
    before = files_of(dataset)
    images = sorted((dataset / 'streetview' / 'images').iterdir())
    images[0].unlink()
    images[1].write_bytes(images[1].read_bytes()[:-50])  # cut short by a full disk
    (dataset / 'metadata.csv').unlink()
    kept = {path: path.stat().st_mtime_ns for path in images[2:]}
    make_dataset(dataset, TINY)
    assert files_of(dataset) == before
    assert {path: path.stat().st_mtime_ns for path in images[2:]} == kept


def test_more_pictures_leave_the_first_ones_as_they_are(city):
    region = TINY.region
    few, many = (Photographer(city, region, (96, 64)) for _ in range(2))
    for number in range(3):
        many.shot('train', number)
    assert repr(few.shot('train', 3)) == repr(many.shot('train', 3))


def test_a_changed_map_shows_other_buildings(city):
    changed = make_city(5, 240.0, changed=0.5)
    assert [r.kind for r in changed.roads] == [r.kind for r in city.roads]
    now, then = (
        {tuple(s) for s in np.round(c.builder.solids.table()[0], 2).tolist()}
        for c in (city, changed)
    )
    assert 0.2 < len(now & then) / len(now) < 0.9


# --- drives --------------------------------------------------------------------------------------


def test_a_drive_is_a_bag_whose_odometry_drifts_as_stated(dataset):
    folder = dataset / 'drives' / 'drive_000'
    stated = yaml.safe_load((folder / 'drive.yaml').read_text())
    truth = list(csv.DictReader((folder / 'truth.csv').open()))
    with Bag(folder / 'bag') as bag:
        types = {name: kind.split('/')[-1] for name, kind in bag.topics.items()}
        assert types == {
            '/camera/image/compressed': 'CompressedImage', '/camera/camera_info': 'CameraInfo',
            '/odom': 'Odometry', '/imu': 'Imu', '/gps/fix': 'NavSatFix', '/tf_static': 'TFMessage',
        }  # fmt: skip
        items = list(bag.messages(list(bag.topics)))
        track = read_track(bag, '/gps/fix')
    stamps = [item.stamp_ns for item in items]
    assert stamps == sorted(stamps)
    by_topic = {topic: [i for i in items if i.topic == topic] for topic in types}
    assert len(track.stamps_ns) == len(by_topic['/camera/image/compressed']) == len(truth) == 13
    region = TINY.region
    assert region.contains(track.latitudes, track.longitudes).all()
    info = by_topic['/camera/camera_info'][0].message
    assert (info.width, info.height) == (96, 64)
    assert info.k == pytest.approx([48.0, 0.0, 47.5, 0.0, 48.0, 31.5, 0.0, 0.0, 1.0])
    picture = by_topic['/camera/image/compressed'][0].message
    assert cv2.imdecode(np.asarray(picture.data), cv2.IMREAD_COLOR).shape == (64, 96, 3)

    east, north = region.to_enu(track.latitudes, track.longitudes)
    gone_m = np.hypot(np.diff(east), np.diff(north)).sum()
    odometry = by_topic['/odom']
    speeds = np.array([item.message.twist.twist.linear.x for item in odometry])
    told_m = speeds.sum() * 0.04
    sensors = stated['sensors']
    assert gone_m > 15 and told_m / gone_m == pytest.approx(sensors['speed_scale'], abs=0.02)
    headings = np.unwrap(np.radians([float(row['heading_deg']) for row in truth]))
    last = odometry[-1].message.pose.pose.orientation
    assert 2 * np.arctan2(last.z, last.w) == pytest.approx(-(headings[-1] - headings[0]), abs=0.06)
    imu = by_topic['/imu'][10].message
    assert imu.orientation_covariance[0] == -1 and 9.3 < imu.linear_acceleration.z < 10.3


# --- what a user gets wrong ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ('wrong', 'named'),
    [
        ({'side_m': 5.0}, 'side'),
        ({'seed': -1}, 'seed'),
        ({'condition': 'fog'}, 'condition'),
        ({'fov_deg': (110.0, 60.0)}, 'fov'),
        ({'held_share': 0.0}, 'kept back'),
        ({'grid': 99}, 'grid'),
        ({'size_px': (4, 4)}, 'size'),
    ],
)
def test_wrong_configurations_are_named(wrong, named):
    with pytest.raises(ConfigError, match=named):
        CityConfig(**wrong)


def test_a_folder_of_something_else_is_left_alone(dataset, tmp_path):
    other = CityConfig(**{**TINY.__dict__, 'train': 7})
    with pytest.raises(DatasetError, match='another train'):
        make_dataset(dataset, other)
    (tmp_path / 'photo.jpg').touch()
    with pytest.raises(DatasetError, match='not empty'):
        make_dataset(tmp_path, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ['photo.jpg']


def test_the_command_completes_a_dataset_and_prints_one_object(dataset, capsys):
    arguments = ['--seed', '5', '--side', '240', '--depth', '2', '--resolution', '0.5']
    arguments += ['--crop-px', '60', '--train', '6', '--val', '3', '--blocks', '3']
    arguments += ['--other-city', '2', '--size', '96', '64', '--drive-seconds', '6']
    arguments += ['--drive-hz', '2', '--panoramas', '4', '--cameras', '2']
    arguments += ['--workers', '1', '--json']
    assert main(['city', str(dataset), *arguments]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made == {
        'dataset': str(dataset), 'train': 6, 'val': 3, 'blocks': 3, 'drives': 1, 'other_city': 2,
    }  # fmt: skip


def test_wrong_input_is_one_line_and_status_2(tmp_path, capsys):
    assert main(['city', str(tmp_path / 'x'), '--side', '5']) == 2
    out, err = capsys.readouterr()
    assert out == '' and err.count('\n') == 1 and err.startswith('justzoom: error: side')
    assert not (tmp_path / 'x').exists()


def test_without_numba_the_command_says_what_to_install(tmp_path):
    code = 'import sys; sys.modules["numba"] = None\n'
    code += 'from justzoom_ros.cli.main import main; '
    code += f'sys.exit(main(["city", {str(tmp_path / "x")!r}]))'
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert 'numba' in done.stderr and 'justzoom_ros[city]' in done.stderr


def test_the_sky_is_above_and_the_street_below(scene):
    camera = Camera(np.array([0.0, 0.0, 200.0]), 0.3, 0.0, 0.0, (64, 48), 1.2)
    picture, met = see(scene, noon('clear'), camera)
    assert (met[0] == SKY).all() and (met[-1] != SKY).all()
    assert np.isfinite(picture).all() and picture.min() >= 0
    assert picture[0, :, 2].mean() > picture[0, :, 0].mean()  # blue


def test_drives_keep_to_the_right_hand_lanes():
    """Away from junctions a vehicle is in the first lane of the road that it follows."""
    rng = np.random.default_rng(3)
    big = make_city(3, 600.0)
    track = ride(rng, big.roads, 300.0, 60.0)
    followed = 0
    for i in range(0, len(track.time_s), 100):
        point = np.array([track.east_m[i], track.north_m[i]])
        for road in big.roads:
            u, v = road.local(point)
            turn = track.yaw_rad[i] - np.arctan2(*road.along[::-1])
            inside = 25 < u < road.length_m - 25 and abs(v) < road.half_m
            if inside and abs(np.sin(turn)) < 0.05:
                lane = LANES_M[road.kind][0] * (-1 if np.cos(turn) > 0 else 1)
                followed += abs(v - lane) < 0.5
                assert np.sign(v) == np.sign(lane)
    assert followed > 12
    assert np.abs(track.acceleration_m_s2[5:-5]).max() < 4.0
    assert (track.speed_m_s * np.abs(track.yaw_rate_rad_s)).max() < 4.0


# --- places seen all round, rigs -----------------------------------------------------------------


def test_a_panorama_and_a_camera_there_see_the_same(city, scene):
    """Whatever a level camera sees is what the strip shows at the bearings that its rays have."""
    eye, day = np.array([0.0, 0.0, 60.0]), noon()
    panorama, _ = see(scene, day, Panorama(eye, 0.3, (2048, 480)))
    camera = Camera(eye, -1.1, 0.0, 0.0, (64, 36), np.radians(70))
    picture, _ = see(scene, day, camera)
    rays = camera.rays()
    bearing = np.arctan2(rays[..., 1], rays[..., 0])
    focal = 2048 / (2 * np.pi)
    column = ((0.3 - bearing) * focal + 2047 / 2) % 2048
    row = 479 / 2 - np.arcsin(rays[..., 2]) * focal
    found = panorama[row.round().astype(int), column.round().astype(int) % 2048]
    same = np.abs(found - picture).max(axis=-1) <= 0.15 * picture.max(axis=-1) + 0.02
    assert same.mean() > 0.85  # edges fall on other pixels


def test_panoramas_are_listed_and_lie_on_streets_that_may_be_seen(dataset):
    with (dataset / 'panoramas.csv').open() as file:
        rows = list(csv.DictReader(file))
    images = read_images(dataset / 'panoramas.csv', None, TINY.region)
    assert len(rows) == len(images) == TINY.panoramas
    assert all(image.load().shape == (120, 512, 3) for image in images)
    assert {row['split'] for row in rows} == {'train'}


def test_a_rig_looks_ahead_and_back_from_one_place(rows):
    for split in ('val', 'blocks'):
        places = {}
        for row in rows:
            if row['split'] == split:
                places.setdefault(row['place'], []).append(row)
        assert len(places) == 3
        for first, second in places.values():
            assert (first['camera'], second['camera']) == ('0', '1')
            assert first['latitude'] == second['latitude'] and first['stamp'] == second['stamp']
            turn = float(second['heading_deg']) - float(first['heading_deg'])
            assert turn % 360 == pytest.approx(180, abs=0.01)
    assert {row['camera'] for row in rows if row['split'] == 'train'} == {'0'}
