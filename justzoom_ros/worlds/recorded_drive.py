"""Real odometry under invented frames: a drive without a camera, moved to the demo's town.

`python -m justzoom_ros.worlds.recorded_drive BAG -o OUT` reads a rosbag2 with NavSatFix and
Odometry, puts the track round the middle of the demo map, draws what a downward camera would see
along it, and writes frames, true positions and the recorded odometry as a bag.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from justzoom_ros.errors import BagError
from justzoom_ros.files import writing
from justzoom_ros.io.bag_writing import write_bag
from justzoom_ros.io.bags import ODOMETRY_TYPES, TRUTH_TYPES, Bag, read_track
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.io.sequences import OdometryEvent, SequenceTopics, events_of_bag
from justzoom_ros.maps.nadir_camera import NadirPose
from justzoom_ros.region import Region
from justzoom_ros.worlds.flight import CAMERA, IMAGE_TOPIC, TRUTH_TOPIC, FlightConfig, take_picture
from justzoom_ros.worlds.town import DEMO_REGION, FLIGHT_DAY, landscape

FOOTPRINT_M = 110.0
SMOOTHED_S = 2.0
"""A satellite fix jumps by a metre; the course is taken over so long."""


def draw_along(
    bag_path: Path,
    out: Path,
    period_s: float = 1.0,
    progress: Callable[[np.ndarray], Iterable[np.int64]] = iter,
) -> None:
    """Make the folder `out` with frames/ and bag/. Raises BagError, OutputError."""
    with Bag(bag_path) as bag:
        track = read_track(bag, bag.topic(TRUTH_TYPES))
        topics = SequenceTopics(odometry=bag.topic(ODOMETRY_TYPES))
        events = events_of_bag(bag, topics)
        poses = [event.pose for event in events if isinstance(event, OdometryEvent)]
    stamps_ns = np.arange(track.stamps_ns[0], track.stamps_ns[-1], round(period_s * 1e9))
    places = _move_to_demo(track, stamps_ns)
    if np.abs(places[:, :2]).max() > DEMO_REGION.side_m / 2 - FOOTPRINT_M / 2:
        raise BagError(f'bag {bag_path} leads out of the demo map, {DEMO_REGION.side_m:g} m wide')
    ground, config = landscape(day=FLIGHT_DAY), FlightConfig()
    with writing(out) as temporary:
        (temporary / 'frames').mkdir(parents=True)
        images = []
        for number, (stamp_ns, (east, north, yaw)) in enumerate(
            zip(progress(stamps_ns), places, strict=True)
        ):
            pose = NadirPose(east, north, yaw, FOOTPRINT_M, 0.0, 0.0)
            path = temporary / 'frames' / f'{number:04d}.jpg'
            path.write_bytes(take_picture(ground, DEMO_REGION.side_m, pose, config, number))
            position = DEMO_REGION.to_latlon(east, north)
            images.append(GeoImage(path.stem, path, *position, int(stamp_ns), path.name))
        folder = temporary / 'bag'
        write_bag(images, folder, IMAGE_TOPIC, TRUTH_TOPIC, poses=poses, camera=CAMERA)


def _move_to_demo(track, stamps_ns):
    """East, north and course (N, 3) at the stamps, the middle of the track at the origin."""
    latitude, longitude = track.latitudes.mean(), track.longitudes.mean()
    region = Region(float(latitude), float(longitude), 100_000.0, grid=2, depth=1)
    east, north = region.to_enu(track.latitudes, track.longitudes)
    since_s = (track.stamps_ns - stamps_ns[0]) / 1e9

    def at(seconds):
        return np.stack([np.interp(seconds, since_s, axis) for axis in (east, north)], 1)

    frames_s = (stamps_ns - stamps_ns[0]) / 1e9
    course = at(frames_s + SMOOTHED_S / 2) - at(frames_s - SMOOTHED_S / 2)
    places = at(frames_s) - (at(since_s).max(0) + at(since_s).min(0)) / 2
    return np.column_stack([places, np.arctan2(course[:, 1], course[:, 0])])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    from tqdm import tqdm

    parser = argparse.ArgumentParser(
        prog='python -m justzoom_ros.worlds.recorded_drive',
        description='Frames over the demo town along a recorded drive, with its own odometry.',
    )
    parser.add_argument('bag', help='rosbag2 with NavSatFix and Odometry')
    parser.add_argument('-o', '--out', type=Path, required=True, help='folder to make')
    given = parser.parse_args(arguments)
    draw_along(given.bag, given.out, progress=lambda items: tqdm(items, 'frames'))


if __name__ == '__main__':
    main()
