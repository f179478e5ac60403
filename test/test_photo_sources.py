"""Readers of photos against files made here, whose truth is by hand, by pyproj, or the city's own
camera."""

import io
import math

import numpy as np
import pytest
from imagery import GEOD
from photo_support import gps_tags, rational, save_photo, scene, write_json
from PIL import Image
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from justzoom_ros.errors import BagError, DatasetError
from justzoom_ros.io.bag_writing import odometry_message, truth_message
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.io.photos.lens import Lens
from justzoom_ros.io.photos.mount import LOOKS_FORWARD, euler, rotation_of, view_of
from justzoom_ros.io.photos.source import (
    PHOTO_SOURCES,
    FaultKind,
    Photo,
    PhotoOptions,
    open_photos,
)
from justzoom_ros.io.photos.yaw_alignment import align_yaw
from justzoom_ros.io.static_transform import (
    LOOKS_AHEAD,
    LOOKS_DOWN,
    StaticTransform,
    write_static_transform,
)
from justzoom_ros.pose import Pose
from justzoom_ros.worlds.city.camera import Camera

HERE = (48.1, 11.5)


def faults(photo):
    return {fault.kind: fault.says for fault in photo.faults}


def one_photo(folder, **photo):
    save_photo(folder / 'a.jpg', scene(0), gps_tags(*HERE, 75.5), photo.pop('tags', None), **photo)
    return open_photos(folder).read()[0]


# --- EXIF --------------------------------------------------------------------------------------


def test_a_geotagged_photo_tells_place_heading_accuracy_and_time(tmp_path):
    tags = {36867: '2024:05:01 10:00:07', 36881: '+02:00', 0xA405: 28}
    save_photo(tmp_path / 'walk' / 'a.jpg', scene(0), gps_tags(*HERE, 75.5, accuracy_m=4.0), tags)
    (photo,) = open_photos(tmp_path).read()
    assert (photo.name, photo.track, photo.faults) == ('walk/a.jpg', 'walk', ())
    assert (photo.latitude, photo.longitude) == pytest.approx(HERE, abs=1e-7)
    assert (photo.heading_deg, photo.heading_source) == (75.5, 'compass')
    assert photo.position_std_m == 4.0
    assert photo.stamp_ns == 1_714_550_407 * 10**9  # 08:00:07 UTC


def test_the_equivalent_focal_length_is_that_of_the_diagonal(tmp_path):
    """28 mm on film of 43.27 mm across are 75.4 degrees corner to corner; of a 4 : 3 picture, four
    fifths of the diagonal are the width."""
    photo = one_photo(tmp_path, tags={0xA405: 28})
    diagonal = math.hypot(36, 24)
    assert 2 * math.degrees(math.atan(diagonal / 2 / 28)) == pytest.approx(75.4, abs=0.1)
    by_hand = 2 * math.degrees(math.atan(0.8 * diagonal / 2 / 28))
    assert photo.lens.fov_deg == pytest.approx(by_hand, abs=1e-9)


def test_a_photo_held_upright_is_as_wide_as_its_short_side(tmp_path):
    photo = one_photo(tmp_path, tags={0xA405: 28}, orientation=6)
    by_hand = 2 * math.degrees(math.atan(0.6 * math.hypot(36, 24) / 2 / 28))
    assert photo.size_px == (48, 64)
    assert photo.lens.fov_deg == pytest.approx(by_hand, abs=1e-9)


def test_a_focal_length_with_the_pixels_of_the_sensor_is_a_lens_even_of_a_smaller_copy(tmp_path):
    """4.2 mm before a sensor of 4000 pixels, 1000 to the centimetre: 40 mm wide."""
    tags = {0x920A: rational(4.2), 0xA20E: rational(1000), 0xA210: 3, 0xA002: 4000}
    photo = one_photo(tmp_path, tags=tags)
    by_hand = 2 * math.degrees(math.atan(40.0 / 2 / 4.2))
    assert photo.lens.fov_deg == pytest.approx(by_hand, abs=1e-9)


@pytest.mark.parametrize(
    ('tags', 'says'),
    [
        ({}, 'no focal length'),
        ({0x920A: rational(0)}, 'focal length is 0'),
        ({0x920A: rational(0), 0xA405: 0}, 'focal length is 0'),
        ({0x920A: rational(4.2)}, 'not the size of the sensor'),
    ],
)
def test_a_photo_without_a_lens_says_why(tmp_path, tags, says):
    photo = one_photo(tmp_path, tags=tags)
    assert photo.lens is None
    assert 'a.jpg' in faults(photo)[FaultKind.NO_LENS] and says in faults(photo)[FaultKind.NO_LENS]


def test_magnetic_headings_are_called_so_and_impossible_ones_are_faults(tmp_path):
    save_photo(tmp_path / 'a.jpg', scene(0), gps_tags(*HERE, 12, 'M'))
    save_photo(tmp_path / 'b.jpg', scene(1), gps_tags(*HERE, 400))
    a, b = open_photos(tmp_path).read()
    assert a.heading_source == 'magnetic'
    assert 'b.jpg' in faults(b)[FaultKind.HEADING] and '400' in faults(b)[FaultKind.HEADING]


def test_a_photo_without_a_position_and_one_that_is_none_are_faults(tmp_path):
    save_photo(tmp_path / 'a.jpg', scene(0))
    (tmp_path / 'b.jpg').write_bytes(b'\xff\xd8 no picture')
    a, b = open_photos(tmp_path).read()
    assert 'a.jpg' in faults(a)[FaultKind.NO_POSITION]
    assert 'b.jpg' in faults(b)[FaultKind.UNREADABLE]


def test_a_picture_of_a_kind_that_is_not_read_is_a_fault_and_not_passed_over(tmp_path):
    one_photo(tmp_path, tags={0xA405: 28})
    (tmp_path / 'b.HEIC').write_bytes(b'x')
    good, bad = open_photos(tmp_path).read()
    assert good.faults == () and 'b.HEIC' in faults(bad)[FaultKind.UNREADABLE]


def test_a_panorama_is_told_by_its_xmp(tmp_path):
    xmp = (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description '
           b'GPano:ProjectionType="equirectangular"/></rdf:RDF></x:xmpmeta>')  # fmt: skip
    photo = one_photo(tmp_path, tags={0xA405: 28}, xmp=xmp)
    assert 'panorama' in faults(photo)[FaultKind.PANORAMA] and photo.lens is None


# --- tables ------------------------------------------------------------------------------------


def api_image(**more):
    """An image as Mapillary's API (version 4) answers."""
    lon, lat = HERE[1], HERE[0]
    return {
        'id': '42',
        'geometry': {'type': 'Point', 'coordinates': [lon + 0.001, lat]},
        'computed_geometry': {'type': 'Point', 'coordinates': [lon, lat]},
        'compass_angle': 100.0,
        'computed_compass_angle': 80.0,
        'captured_at': 1_714_550_407_250,
        'camera_type': 'perspective',
        'camera_parameters': [0.85, 0.0, 0.0],
        'is_pano': False,
        'sequence': 'abc',
    } | more


def mapillary(folder, *images):
    save_photo(folder / 'images' / '42.jpg', scene(0))
    return open_photos(write_json(folder / 'images.json', {'data': list(images)})).read()


def test_what_mapillary_computed_is_preferred(tmp_path):
    (photo,) = mapillary(tmp_path, api_image())
    assert (photo.latitude, photo.longitude) == HERE
    assert (photo.heading_deg, photo.heading_source) == (80.0, 'computed')
    assert photo.stamp_ns == 1_714_550_407_250_000_000 and photo.track == 'abc'
    # The focal length is a share of the longer side.
    assert photo.lens.fov_deg == pytest.approx(2 * math.degrees(math.atan(0.5 / 0.85)))


def test_what_mapillary_did_not_compute_is_as_it_was_taken(tmp_path):
    (photo,) = mapillary(tmp_path, api_image(computed_geometry=None, computed_compass_angle=None))
    assert photo.longitude == pytest.approx(HERE[1] + 0.001)
    assert (photo.heading_deg, photo.heading_source) == (100.0, 'compass')


@pytest.mark.parametrize(
    'more', [{'is_pano': True}, {'camera_type': 'spherical'}, {'camera_type': 'equirectangular'}]
)
def test_a_panorama_of_mapillary_is_a_fault(tmp_path, more):
    (photo,) = mapillary(tmp_path, api_image(camera_parameters=[], **more))
    assert 'images.json image 1' in faults(photo)[FaultKind.PANORAMA]


def test_a_picture_that_was_not_downloaded_is_a_fault(tmp_path):
    photos = mapillary(tmp_path, api_image(), api_image(id='43'))
    assert [set(faults(p)) for p in photos] == [set(), {FaultKind.NO_FILE}]


def test_the_description_file_of_mapillary_tools_is_read(tmp_path):
    save_photo(tmp_path / 'a.jpg', scene(0), photo={0xA405: 28})
    write_json(
        tmp_path / 'mapillary_image_description.json',
        [
            {
                'filename': '/home/someone/a.jpg',
                'filetype': 'image',
                'MAPLatitude': HERE[0],
                'MAPLongitude': HERE[1],
                'MAPCaptureTime': '2024_05_01_08_00_07_250',
                'MAPCompassHeading': {'TrueHeading': 12.0, 'MagneticHeading': 9.0},
                'MAPSequenceUUID': '3',
                'MAPGPSAccuracyMeters': 6.0,
            },
            {'filename': 'b.jpg', 'filetype': 'image', 'error': {'message': 'no GPS in EXIF'}},
        ],
    )
    save_photo(tmp_path / 'b.jpg', scene(1))
    good, bad = open_photos(tmp_path).read()
    assert (good.latitude, good.longitude, good.heading_deg) == (*HERE, 12.0)
    assert good.stamp_ns == 1_714_550_407_250_000_000
    assert (good.track, good.position_std_m, good.faults) == ('3', 6.0, ())
    assert 'no GPS in EXIF' in faults(bad)[FaultKind.NO_POSITION]


def test_a_video_is_no_photo(tmp_path):
    path = write_json(tmp_path / 'd.json', [{'filename': 'a.mp4', 'MAPGPSTrack': []}])
    with pytest.raises(DatasetError, match='a.mp4'):
        open_photos(path).read()


def test_a_geojson_gives_points_with_properties(tmp_path):
    save_photo(tmp_path / 'a.jpg', scene(0))
    feature = {
        'type': 'Feature',
        'geometry': {'type': 'Point', 'coordinates': [HERE[1], HERE[0]]},
        'properties': {'file': 'a.jpg', 'heading': 350, 'fov_deg': 70, 'time': '2024-05-01'},
    }
    line = {**feature, 'geometry': {'type': 'LineString', 'coordinates': [[1, 2], [3, 4]]}}
    path = write_json(
        tmp_path / 'p.geojson', {'type': 'FeatureCollection', 'features': [feature, line]}
    )
    good, bad = open_photos(path).read()
    assert (good.latitude, good.longitude, good.heading_deg) == (*HERE, 350)
    assert good.lens.fov_deg == pytest.approx(70)
    assert 'feature 2' in faults(bad)[FaultKind.NO_POSITION]


def test_a_csv_gives_points_as_well_known_text_and_columns(tmp_path):
    save_photo(tmp_path / 'images' / 'a.jpg', scene(0))
    save_photo(tmp_path / 'images' / 'b.jpg', scene(1))
    table = tmp_path / 'raw.csv'
    table.write_text(
        'key,computed_geometry,lat,lon,ca,pano,captured_at,sequence_key\n'
        f'a,POINT ({HERE[1]} {HERE[0]}),0,0,77,False,1714550407250,s\n'
        f'b,,{HERE[0]},{HERE[1]},-1,True,2024-05-01T08:00:08,s\n'
    )
    a, b = open_photos(table).read()
    assert (a.latitude, a.longitude, a.heading_deg) == (*HERE, 77)
    assert (b.latitude, b.longitude, b.heading_deg) == (*HERE, None)
    assert b.stamp_ns - a.stamp_ns == 750_000_000
    assert FaultKind.PANORAMA in faults(b) and FaultKind.NO_LENS in faults(a)


@pytest.mark.parametrize(
    ('name', 'text'),
    [('a.json', '{"data": [1]}'), ('a.json', '{'), ('a.geojson', '[]'), ('a.csv', 'file,lat\n')],
)
def test_a_damaged_table_is_an_error_by_name(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=name):
        open_photos(tmp_path / name).read()


def test_every_source_is_known_by_name_and_a_strange_file_is_none(tmp_path):
    (tmp_path / 'a.txt').write_text('')
    with pytest.raises(DatasetError, match='kitti'):
        open_photos(tmp_path / 'a.txt')
    assert all(PHOTO_SOURCES.get(name).recognizes(tmp_path / 'x') is False or name ==
               'mapillary' for name in PHOTO_SOURCES.list())  # fmt: skip


# --- lenses and mounts ---------------------------------------------------------------------------


def test_a_distorted_picture_is_straightened_as_the_model_says():
    """A point of the scene, drawn where the model of Brown puts it, comes out where the pinhole
    sees it."""
    lens = Lens(200.0, 200.0, 149.5, 99.5, (300, 200), 'test', 'plumb_bob', (-0.2, 0.05, 0, 0))
    x, y = 0.5, 0.3
    squared = x * x + y * y
    factor = 1 - 0.2 * squared + 0.05 * squared**2
    image = np.zeros((200, 300, 3), np.uint8)
    column, row = (round(200 * v * factor + c) for v, c in ((x, 149.5), (y, 99.5)))
    image[row - 1 : row + 2, column - 1 : column + 2] = 255
    straight = lens.straighten(image)[..., 0].astype(float)
    rows, columns = np.indices(straight.shape)
    found = [(axis * straight).sum() / straight.sum() for axis in (columns, rows)]
    assert found == pytest.approx([200 * x + 149.5, 200 * y + 99.5], abs=1.0)


def test_a_mounted_camera_looks_where_its_quaternion_says():
    ahead, down = (view_of(rotation_of(*q)) for q in (LOOKS_AHEAD, LOOKS_DOWN))
    assert (ahead.yaw_rad, ahead.pitch_rad, ahead.roll_rad) == pytest.approx((0, 0, 0), abs=1e-9)
    assert down is None


def test_the_view_of_a_turned_body_is_that_of_the_city_camera():
    camera = Camera(np.zeros(3), yaw_rad=0.4, pitch_rad=0.1, roll_rad=0.2)
    view = view_of(camera.axes.T)
    assert (view.yaw_rad, view.pitch_rad, view.roll_rad) == pytest.approx((0.4, 0.1, 0.2))
    # Pitch of REP-103 is positive front down, roll left side up, which is clockwise from behind.
    assert euler(0.2, -0.1, 0.4) @ LOOKS_FORWARD == pytest.approx(camera.axes.T)


def test_drifting_odometry_is_turned_onto_the_true_track():
    seconds = np.arange(0, 120, 0.5)
    truth = np.stack([8 * seconds, 40 * np.sin(seconds / 10)], axis=1)
    turn = 0.7 + 0.002 * seconds  # how far the frame has drifted
    steps = np.diff(truth, axis=0, prepend=truth[:1]) @ [1, 1j]
    felt = np.cumsum(steps * np.exp(-1j * turn))
    odometry = np.stack([felt.real, felt.imag], axis=1)
    angle, std = align_yaw((seconds * 1e9).astype(np.int64), odometry, truth, 1.0)
    assert np.abs(angle - turn).max() < math.radians(1.5)
    assert (np.abs(angle - turn) < 2 * std).mean() > 0.9


def test_odometry_that_stands_still_has_no_direction():
    still = np.zeros((5, 2))
    angle, _ = align_yaw(np.arange(5) * 10**9, still, still, 1.0)
    assert np.isnan(angle).all()


# --- bags --------------------------------------------------------------------------------------

STORE = get_typestore(Stores.ROS2_KILTED)


def write_drive(path, camera=LOOKS_AHEAD, info=True, truth=True, covariance=0.0, imu_deg=None):
    """A bag of a drive to the north-east at 10 m/s, odometry turned by 45 degrees. Returns true
    positions of the images."""
    types = STORE.types
    start_ns = 1_714_550_400 * 10**9
    azimuth_deg, places = 45.0, []
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topics = {
            '/image': 'sensor_msgs/msg/CompressedImage',
            '/fix': 'sensor_msgs/msg/NavSatFix',
            '/odom': 'nav_msgs/msg/Odometry',
            '/info': 'sensor_msgs/msg/CameraInfo',
            '/imu': 'sensor_msgs/msg/Imu',
        }
        connections = {t: writer.add_connection(t, k, typestore=STORE) for t, k in topics.items()}

        def write(topic, stamp_ns, message):
            raw = STORE.serialize_cdr(message, topics[topic])
            writer.write(connections[topic], stamp_ns, raw)

        write_static_transform(writer, STORE, StaticTransform('camera', camera, 1.5), start_ns)
        for i in range(20):
            stamp_ns = start_ns + i * 10**9
            lon, lat, _ = GEOD.fwd(HERE[1], HERE[0], azimuth_deg, 10.0 * i)
            places.append((lat, lon))
            header = types['std_msgs/msg/Header'](
                types['builtin_interfaces/msg/Time'](stamp_ns // 10**9, 0), 'camera'
            )
            write('/odom', stamp_ns, odometry_message(STORE, Pose(stamp_ns, 10.0 * i, 0.0, 0.0)))
            if truth:
                image = GeoImage('x', path, lat, lon, stamp_ns, '')
                fix = truth_message(STORE, image)
                fix.position_covariance[[0, 4]] = covariance
                fix.position_covariance_type = 2 if covariance else 0
                write('/fix', stamp_ns, fix)
            if imu_deg is not None:
                write('/imu', stamp_ns, imu(types, header, math.radians(imu_deg)))
            if info:
                write('/info', stamp_ns, camera_info(types, header))
            buffer = io.BytesIO()
            Image.fromarray(scene(i)).save(buffer, 'JPEG')
            data = np.frombuffer(buffer.getvalue(), np.uint8)
            write('/image', stamp_ns, types[topics['/image']](header, 'jpeg', data))
    return places


def imu(types, header, yaw_rad):
    """An orientation known to 0.1 rad; the rates are zero."""
    geometry = 'geometry_msgs/msg/'
    turn = types[f'{geometry}Quaternion'](0.0, 0.0, math.sin(yaw_rad / 2), math.cos(yaw_rad / 2))
    still, covariance = types[f'{geometry}Vector3'](0.0, 0.0, 0.0), np.zeros(9)
    known = np.diag([0.01, 0.01, 0.01]).ravel()
    return types['sensor_msgs/msg/Imu'](header, turn, known, still, covariance, still, covariance)


def camera_info(types, header):
    k = np.array([40.0, 0, 31.5, 0, 40.0, 23.5, 0, 0, 1])
    roi = types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    p = np.array([40.0, 0, 31.5, 0, 0, 40.0, 23.5, 0, 0, 0, 1, 0])
    return types['sensor_msgs/msg/CameraInfo'](
        header, 48, 64, 'plumb_bob', np.zeros(5), k, np.eye(3).ravel(), p, 0, 0, roi
    )


@pytest.mark.slow
def test_a_bag_gives_places_lens_and_headings_of_its_odometry(tmp_path):
    places = write_drive(tmp_path / 'drive', covariance=4.0)
    source = open_photos(tmp_path / 'drive')
    photos = source.read()
    found = np.array([(p.latitude, p.longitude) for p in photos])
    assert found == pytest.approx(np.array(places), abs=1e-9)
    assert [p.heading_deg for p in photos] == pytest.approx([45.0] * 20, abs=0.1)
    assert {p.heading_source for p in photos} == {'odometry'} and photos[3].position_std_m == 2.0
    assert photos[0].lens.fov_deg == pytest.approx(2 * math.degrees(math.atan(32 / 40)))
    seen = dict((photo.index, load()) for photo, load in source.pictures(photos[4:6]))
    assert list(seen) == [4, 5] and seen[4].shape == (48, 64, 3)


def test_a_camera_that_looks_to_the_right_heads_to_the_right(tmp_path):
    turn = np.array([0.0, 0.0, -math.sin(math.pi / 4), math.cos(math.pi / 4)])  # 90 deg clockwise
    x, y, z, w = LOOKS_AHEAD
    a, b = (turn[2], turn[3]), (x, y, z, w)
    product = (a[1] * b[0] - a[0] * b[1], a[1] * b[1] + a[0] * b[0],
               a[1] * b[2] + a[0] * b[3], a[1] * b[3] - a[0] * b[2])  # fmt: skip
    write_drive(tmp_path / 'drive', camera=product)
    assert open_photos(tmp_path / 'drive').read()[5].heading_deg == pytest.approx(135.0, abs=0.1)


def test_an_imu_that_is_named_gives_the_headings(tmp_path):
    write_drive(tmp_path / 'drive', imu_deg=30.0)
    photo = open_photos(tmp_path / 'drive', PhotoOptions(imu='/imu')).read()[7]
    assert (photo.heading_deg, photo.heading_source) == (pytest.approx(60.0), 'imu')
    assert photo.heading_std_deg == pytest.approx(math.degrees(0.1))


def test_a_bag_without_camera_info_or_with_a_camera_that_looks_down_says_so(tmp_path):
    write_drive(tmp_path / 'drive', camera=LOOKS_DOWN, info=False)
    photo = open_photos(tmp_path / 'drive').read()[0]
    assert 'CameraInfo' in faults(photo)[FaultKind.NO_LENS]
    assert 'forward' in faults(photo)[FaultKind.HEADING]


def test_a_bag_without_true_positions_is_an_error(tmp_path):
    write_drive(tmp_path / 'drive', truth=False)
    with pytest.raises(BagError, match='/fix'):
        open_photos(tmp_path / 'drive').read()


def test_a_topic_that_is_not_there_is_an_error(tmp_path):
    write_drive(tmp_path / 'drive')
    with pytest.raises(BagError, match='/front'):
        open_photos(tmp_path / 'drive', PhotoOptions(camera='/front')).read()


# --- KITTI -------------------------------------------------------------------------------------


def write_kitti(date, yaw_rad=math.pi / 2, size_px=(64, 48)):
    """Two pictures of a drive, the second without a position; the camera 1.2 m ahead of the
    unit."""
    drive = date / '2011_09_26_drive_0001_sync'
    for part in ('image_02/data', 'oxts/data'):
        (drive / part).mkdir(parents=True)
    for number in (0, 1):
        Image.fromarray(scene(number, size_px)).save(drive / f'image_02/data/{number:010d}.png')
    numbers = np.zeros(30)
    numbers[[0, 1, 5, 23]] = *HERE, yaw_rad, 0.05
    (drive / 'oxts/data/0000000000.txt').write_text(' '.join(map(str, numbers)))
    (drive / 'image_02/timestamps.txt').write_text(
        '2011-09-26 13:02:25.964389445\n2011-09-26 13:02:26.064389445\n'
    )
    # Camera axes: right is -y, down is -z, ahead is x of the unit.
    turn = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    rows = {
        'calib_imu_to_velo': (np.eye(3), (0.0, 0.0, 0.0)),
        'calib_velo_to_cam': (turn, (0.0, 0.0, -1.2)),
    }
    for name, (turn, shift) in rows.items():
        lines = [f'R: {" ".join(map(str, np.ravel(turn)))}', f'T: {" ".join(map(str, shift))}']
        (date / f'{name}.txt').write_text('calib_time: 15-Mar-2012 11:37:16\n' + '\n'.join(lines))
    (date / 'calib_cam_to_cam.txt').write_text(
        'S_02: 100 80\nK_02: 90 0 49.5 0 90 39.5 0 0 1\nD_02: -0.3 0.1 0 0 0\n'
        'S_rect_02: 64 48\nP_rect_02: 50 0 31.5 4.5 0 50 23.5 0 0 0 1 0\n'
    )
    return drive


def test_a_kitti_drive_gives_lens_time_and_the_camera_s_own_place(tmp_path):
    write_kitti(tmp_path)
    photo, missing = open_photos(tmp_path).read()
    lon, lat, _ = GEOD.fwd(HERE[1], HERE[0], 0.0, 1.2)  # yaw of 90 degrees is north
    assert GEOD.inv(photo.longitude, photo.latitude, lon, lat)[2] < 1e-3
    assert (photo.heading_deg + 180) % 360 - 180 == pytest.approx(0.0, abs=1e-6)
    assert (photo.pitch_deg, photo.roll_deg) == pytest.approx((0, 0), abs=1e-9)
    assert photo.lens.fov_deg == pytest.approx(2 * math.degrees(math.atan(32 / 50)))
    assert (photo.position_std_m, photo.track) == (0.05, '2011_09_26_drive_0001_sync')
    assert photo.stamp_ns == 1_317_042_145_964_389_445
    assert '0000000001.txt' in faults(missing)[FaultKind.NO_POSITION]


def test_a_raw_kitti_picture_has_the_distorted_lens(tmp_path):
    write_kitti(tmp_path, size_px=(100, 80))
    photo = open_photos(tmp_path).read()[0]
    assert photo.lens.fx_px == 90 and photo.lens.distortion[:2] == (-0.3, 0.1)


def test_a_camera_that_a_drive_lacks_and_a_picture_of_another_size_are_told(tmp_path):
    drive = write_kitti(tmp_path, size_px=(32, 24))
    assert '32 x 24' in faults(open_photos(drive).read()[0])[FaultKind.NO_LENS]
    with pytest.raises(DatasetError, match='image_05'):
        open_photos(drive, PhotoOptions(camera='image_05')).read()


# --- another source ------------------------------------------------------------------------------


class LogBook:
    """Photos that a text lists, one `file lat lon` a line."""

    def __init__(self, path, options):
        self.path = path

    @staticmethod
    def recognizes(path):
        return path.suffix == '.log'

    def read(self):
        rows = [line.split() for line in self.path.read_text().splitlines()]
        return [Photo(name, '', float(lat), float(lon)) for name, lat, lon in rows]

    def pictures(self, photos):
        yield from ((photo, lambda: scene(0)) for photo in photos)


def test_a_source_of_one_s_own_is_recognized_once_it_is_registered(tmp_path):
    path = tmp_path / 'trip.log'
    path.write_text('a.jpg 48.1 11.5\n')
    PHOTO_SOURCES.register('logbook', LogBook)
    try:
        (photo,) = open_photos(path).read()
    finally:
        del PHOTO_SOURCES.entries['logbook']
    assert (photo.name, photo.latitude, photo.longitude) == ('a.jpg', 48.1, 11.5)
