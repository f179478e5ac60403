"""Drives through the city as rosbag2: pictures, odometry that drifts, an IMU, the truth."""

import csv
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import yaml
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from justzoom_ros.errors import ConfigError
from justzoom_ros.files import writing
from justzoom_ros.io.stamps import NS_PER_S, from_nanoseconds
from justzoom_ros.io.static_transform import (
    LOOKS_AHEAD,
    StaticTransform,
    write_static_transform,
)
from justzoom_ros.region import Region
from justzoom_ros.worlds.aliases import Progress
from justzoom_ros.worlds.city.camera import Camera
from justzoom_ros.worlds.city.city import make_city
from justzoom_ros.worlds.city.config import CityConfig, make_photographer
from justzoom_ros.worlds.city.light import Moment, sun_direction
from justzoom_ros.worlds.city.photo import Lens
from justzoom_ros.worlds.city.route import STEP_S, Ride, ride
from justzoom_ros.worlds.city.shots import Day, Photographer, Shot, jpeg

TOPICS = {
    'image': ('/camera/image/compressed', 'sensor_msgs/msg/CompressedImage'),
    'camera_info': ('/camera/camera_info', 'sensor_msgs/msg/CameraInfo'),
    'odom': ('/odom', 'nav_msgs/msg/Odometry'),
    'imu': ('/imu', 'sensor_msgs/msg/Imu'),
    'truth': ('/gps/fix', 'sensor_msgs/msg/NavSatFix'),
}
ODOM_EVERY = 2
"""Odometry at 25 Hz, the IMU at 50 Hz."""
CAMERA_UP_M, CAMERA_FOV_RAD = 1.5, np.radians(90)
DEMO_DRIVE = 10
GRAVITY_M_S2 = 9.80665


@dataclass(frozen=True)
class Sensors:
    """What the sensors of a drive do wrong; noises are standard deviations per sample."""

    speed_scale: float
    """Factor on the wheels' speed."""

    yaw_bias_rad_s: float
    """Added to the wheels' turn rate."""

    yaw_walk_rad_s_rt_s: float = 0.0003
    """How that drifts as a random walk, per root second."""

    speed_noise_m_s: float = 0.05
    """Of the wheels' speed."""

    yaw_noise_rad_s: float = 0.005
    """Of the wheels' turn rate."""

    gyro_bias_rad_s: float = 0.001
    """Added to the gyroscope's turn rate."""

    gyro_noise_rad_s: float = 0.002
    """Of the gyroscope's turn rate."""

    accelerometer_noise_m_s2: float = 0.05
    """Of each axis of the accelerometer."""


def write_drives(
    out: Path, photographer: Photographer, config: CityConfig, progress: Progress
) -> None:
    """Make the drives of a dataset that are not there yet, in `out`/drive_000 and so on."""
    for number in range(config.drives):
        folder = out / f'drive_{number:03d}'
        if not (folder / 'bag' / 'metadata.yaml').is_file():
            with writing(folder) as temporary:
                temporary.mkdir()
                write_drive(
                    temporary, photographer, number, config.drive_s, config.drive_hz, progress
                )


def make_demo_drive(folder: Path, progress: Progress) -> None:
    """Write a drive through the demo city, that of the map maps/city, as `write_drive` does."""
    config = CityConfig(seed=1, size_px=(256, 144), drive_hz=2.0)
    city = make_city(config.seed, config.side_m)
    photographer = make_photographer(city, config.region, config)
    write_drive(folder, photographer, DEMO_DRIVE, config.drive_s, config.drive_hz, progress)


def write_drive(
    folder: Path,
    photographer: Photographer,
    number: int,
    duration_s: float,
    rate_hz: float,
    progress: Progress,
) -> None:
    """Write `folder`/bag, truth.csv and drive.yaml. Raises ConfigError for too small a city."""
    rng = np.random.default_rng([photographer.city.seed, 40, number])
    sensors = draw_sensors(rng)
    track = ride(rng, photographer.city.roads, photographer.city.side_m / 2, duration_s)
    if track is None:
        raise ConfigError(
            f'a city of {photographer.city.side_m:g} m has no route of {duration_s:g} s; make it '
            'larger or the drives shorter'
        )
    days = photographer.days['val']
    day = days[number % len(days)]
    moment = noon(day, photographer.region)
    path_m = np.stack([track.east_m, track.north_m], axis=1)[::25]
    scene = photographer.city.scene(day.traffic_seed, day.fullness, keep_clear=path_m)
    every = max(1, round(1 / (rate_hz * STEP_S)))
    frames = range(0, len(track.time_s), every)
    (folder / 'drive.yaml').write_text(yaml.safe_dump({
        'sensors': asdict(sensors), 'topics': {name: topic for name, (topic, _) in TOPICS.items()},
        'rate_hz': 1 / (every * STEP_S), 'camera': _camera_facts(photographer.size_px),
        'weather': day.weather, 'stamp_s': moment.stamp_s,
    }, sort_keys=False))  # fmt: skip
    _write_truth(folder / 'truth.csv', track, frames, photographer.region, moment)
    writer = _BagWriter(folder / 'bag', photographer, track, sensors, moment, rng)
    with writer:
        writer.write(scene, day, progress(frames, f'drive {number}', len(frames)))


def integrate_wheels(track: Ride, sensors: Sensors, rng: np.random.Generator) -> np.ndarray:
    """Poses that wheels tell of a ride, (N, 5): x and y (metres) and yaw (radians), integrated
    from speed (m/s) and turn rate (rad/s) that err, and these two."""
    count = len(track.time_s)
    walk = np.cumsum(rng.normal(0, sensors.yaw_walk_rad_s_rt_s * np.sqrt(STEP_S), count))
    speed = track.speed_m_s * sensors.speed_scale
    speed = speed + rng.normal(0, sensors.speed_noise_m_s, count)
    rate = track.yaw_rate_rad_s + sensors.yaw_bias_rad_s + walk
    rate = rate + rng.normal(0, sensors.yaw_noise_rad_s, count)
    yaw = np.cumsum(rate) * STEP_S
    x, y = np.cumsum(speed * np.cos(yaw)) * STEP_S, np.cumsum(speed * np.sin(yaw)) * STEP_S
    return np.stack([x, y, yaw, speed, rate], axis=1)


def draw_sensors(rng: np.random.Generator) -> Sensors:
    """The sensors of one vehicle."""
    return Sensors(1 + float(rng.normal(0, 0.01)), float(rng.normal(0, 0.002)))


def noon(day: Day, region: Region) -> Moment:
    """The Moment of that day at which the sun is highest, in whole hours."""
    place = region.latitude, region.longitude
    hours = [day.midnight_s + 3600 * hour for hour in range(24)]
    best = max(hours, key=lambda stamp_s: sun_direction(stamp_s, *place)[2])
    return Moment(best, *place, day.weather, day.traffic_seed)


def _camera_facts(size_px):
    return {
        'size_px': list(size_px), 'fov_deg': float(np.degrees(CAMERA_FOV_RAD)),
        'height_m': CAMERA_UP_M, 'frame_id': 'camera',
    }  # fmt: skip


def _write_truth(path, track, frames, region, moment):
    with Path(path).open('w', newline='') as file:
        rows = csv.writer(file)
        rows.writerow(['stamp', 'latitude', 'longitude', 'heading_deg', 'speed_m_s'])
        for i in frames:
            place = region.to_latlon(track.east_m[i], track.north_m[i])
            heading = (90 - np.degrees(track.yaw_rad[i])) % 360
            rows.writerow([
                f'{moment.stamp_s + track.time_s[i]:.2f}', *(round(v, 8) for v in place),
                round(heading, 3), round(track.speed_m_s[i], 3),
            ])  # fmt: skip


class _BagWriter:
    """Writes the messages of one drive in the order of their stamps."""

    def __init__(self, path, photographer, track, sensors, moment, rng):
        self.store = get_typestore(Stores.ROS2_KILTED)
        self.types = self.store.types
        self.writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self.photographer, self.track, self.sensors, self.moment = (
            photographer,
            track,
            sensors,
            moment,
        )
        self.rng = rng
        self.lens = Lens(
            exposure=1.0, noise=2.0, flare=0.3, quality=85, seed=int(rng.integers(2**31))
        )

    def __enter__(self):
        self.writer.__enter__()
        self.connections = {
            name: self.writer.add_connection(topic, kind, typestore=self.store)
            for name, (topic, kind) in TOPICS.items()
        }
        camera = StaticTransform('camera', LOOKS_AHEAD, CAMERA_UP_M)
        start_ns = self.moment.stamp_s * NS_PER_S
        write_static_transform(self.writer, self.store, camera, start_ns)
        return self

    def __exit__(self, *failure):
        return self.writer.__exit__(*failure)

    def write(self, scene, day, frames):
        odometry = integrate_wheels(self.track, self.sensors, self.rng)
        gyro = self.rng.normal(0, 1, len(self.track.time_s))
        push = self.rng.normal(0, self.sensors.accelerometer_noise_m_s2, (len(gyro), 3))
        done = 0
        for frame in frames:
            for i in range(done, frame + 1):
                self.imu(i, gyro[i], push[i])
                if i % ODOM_EVERY == 0:
                    self.odom(i, odometry[i])
            done = frame + 1
            self.frame(scene, day, frame)

    def put(self, name, i, **fields):
        """Write one message with a header."""
        kind = TOPICS[name][1]
        stamp_ns = self.moment.stamp_s * NS_PER_S + round(i * STEP_S * 1e9)
        frame_id = {'odom': 'odom', 'imu': 'base_link', 'truth': 'gps'}.get(name, 'camera')
        stamp = self.types['builtin_interfaces/msg/Time'](*from_nanoseconds(stamp_ns))
        header = self.types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame_id)
        message = self.types[kind](header=header, **fields)
        raw = self.store.serialize_cdr(message, kind)
        self.writer.write(self.connections[name], stamp_ns, raw)

    def vector(self, x=0.0, y=0.0, z=0.0):
        return self.types['geometry_msgs/msg/Vector3'](float(x), float(y), float(z))

    def odom(self, i, sample):
        x, y, yaw, speed, rate = map(float, sample)
        geometry = 'geometry_msgs/msg/'
        point = self.types[f'{geometry}Point'](x, y, 0.0)
        turn = self.types[f'{geometry}Quaternion'](0.0, 0.0, np.sin(yaw / 2), np.cos(yaw / 2))
        pose = self.types[f'{geometry}Pose'](point, turn)
        twist = self.types[f'{geometry}Twist'](self.vector(speed), self.vector(z=rate))
        travelled = float(np.sum(np.abs(self.track.speed_m_s[: i + 1]))) * STEP_S
        off = (0.01 + 0.02 * travelled) ** 2, (0.002 * self.track.time_s[i] + 0.01) ** 2
        pose_var = np.diag([off[0], off[0], 1e-4, 1e-4, 1e-4, off[1]]).ravel()
        noise = self.sensors.speed_noise_m_s**2, self.sensors.yaw_noise_rad_s**2
        twist_var = np.diag([noise[0], 1e-4, 1e-4, 1e-4, 1e-4, noise[1]]).ravel()
        self.put(
            'odom', i, child_frame_id='base_link',
            pose=self.types[f'{geometry}PoseWithCovariance'](pose, pose_var),
            twist=self.types[f'{geometry}TwistWithCovariance'](twist, twist_var),
        )  # fmt: skip

    def imu(self, i, gyro, push):
        track, sensors = self.track, self.sensors
        rate = track.yaw_rate_rad_s[i] + sensors.gyro_bias_rad_s + sensors.gyro_noise_rad_s * gyro
        sideways = track.speed_m_s[i] * track.yaw_rate_rad_s[i]
        unknown = np.zeros(9)
        unknown[0] = -1.0  # REP-145: there is no orientation
        self.put(
            'imu', i,
            orientation=self.types['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0),
            orientation_covariance=unknown,
            angular_velocity=self.vector(z=rate),
            angular_velocity_covariance=np.eye(3).ravel() * sensors.gyro_noise_rad_s**2,
            linear_acceleration=self.vector(
                track.acceleration_m_s2[i] + push[0], sideways + push[1], GRAVITY_M_S2 + push[2]
            ),
            linear_acceleration_covariance=np.eye(3).ravel()
            * sensors.accelerometer_noise_m_s2**2,
        )  # fmt: skip

    def frame(self, scene, day, i):
        track, region = self.track, self.photographer.region
        eye = np.array([track.east_m[i], track.north_m[i], CAMERA_UP_M])
        camera = Camera(eye, track.yaw_rad[i], 0.0, 0.0, self.photographer.size_px, CAMERA_FOV_RAD)
        data = jpeg(scene, Shot(str(i), 'drive', camera, day, self.moment, self.lens))
        latitude, longitude = region.to_latlon(*eye[:2])
        self.put(
            'truth', i, latitude=latitude, longitude=longitude, altitude=0.0,
            status=self.types['sensor_msgs/msg/NavSatStatus'](status=0, service=1),
            position_covariance=np.diag([1e-4, 1e-4, 1e-4]).ravel(), position_covariance_type=3,
        )  # fmt: skip
        matrix, (width, height) = camera.matrix, camera.size_px
        self.put(
            'camera_info', i, height=height, width=width, distortion_model='plumb_bob',
            d=np.zeros(5), k=matrix.ravel(), r=np.eye(3).ravel(),
            p=np.append(matrix, np.zeros((3, 1)), axis=1).ravel(), binning_x=0, binning_y=0,
            roi=self.types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False),
        )  # fmt: skip
        self.put('image', i, format='jpeg', data=np.frombuffer(data, np.uint8))
