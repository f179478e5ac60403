"""Messages, bags and rasters of random damage, many of them: an answer or an error by name, never
another exception, no hang, no growth.

    python test/fuzzed.py --seed 1 --messages 10000 --bags 1000 --rasters 1000

The same seed gives the same inputs. `test/test_fuzz.py` has the other files.
"""

import argparse
import io
import logging
import math
import random
import tempfile
import time
from array import array
from collections import Counter
from pathlib import Path
from types import SimpleNamespace as Message

import numpy as np
from imagery import CENTER, grid_round, texture, write_raster
from PIL import Image
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from tiny import REGION, make_map, make_weights

from justzoom_ros import Localizer, Region, SatelliteMap
from justzoom_ros.bench.memory import resident_mb
from justzoom_ros.errors import JustZoomError
from justzoom_ros.io.bag_writing import write_bag
from justzoom_ros.io.bags import Bag
from justzoom_ros.io.camera_message import pinhole_from_message, range_from_message
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.io.image_message import PLAIN, UsedDepth, image_from_message
from justzoom_ros.io.motion_message import (
    heading_from_message,
    pose_from_message,
    prior_from_message,
)
from justzoom_ros.io.sequences import SequenceTopics, events_of_bag
from justzoom_ros.io.undistortion import Undistorter
from justzoom_ros.tracker import Tracker

ODD = (0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e308, -1e308, 1e-308, 1e20)
SIZES = (0, 1, 2, 3, 5, 16, 24, 64, 2**31, 2**32 - 1)
ROI = ('x_offset', 'y_offset', 'width', 'height')
FIGURES = ('slowest s', 'growth MB')
SLOW_S = 20.0
"""An input that takes longer hangs."""


def number(rng):
    """Mostly plain, sometimes odd."""
    return rng.choice(ODD) if rng.random() < 0.3 else rng.gauss(0, 100)


def damaged(content, rng):
    """Bytes with some of them changed, perhaps cut."""
    result = bytearray(content)
    for _ in range(rng.randint(1, 12)):
        result[rng.randrange(len(result))] = rng.randrange(256)
    return bytes(result[: rng.randrange(len(result))] if rng.random() < 0.3 else result)


# --- messages ------------------------------------------------------------------------------------


def header(rng):
    odd = rng.random() < 0.2
    sec = rng.choice((0, -5, 2**31 - 1)) if odd else rng.randint(1, 1000)
    stamp = Message(sec=sec, nanosec=rng.choice((0, 5, 10**9 - 1, 2**32 - 1)))
    return Message(stamp=stamp, frame_id=rng.choice(('', 'camera', 'map', '/x')))


def raw_image(rng):
    encoding = rng.choice([*PLAIN, 'bayer_rggb8', 'bayer_gbrg16', 'yuyv', 'nv12', 'nv21', '', 'x'])
    if rng.random() < 0.6:  # whole but for its content
        channels, bits = PLAIN.get(encoding, (2, 8))
        width, height = rng.randint(1, 24), rng.randint(1, 24)
        step = width * channels * bits // 8 + rng.choice((0, 0, 0, 3, 4))
        length = step * height
    else:
        width, height, step = (rng.choice(SIZES) for _ in range(3))
        length = rng.randrange(5000)
    return Message(
        header=header(rng), encoding=encoding, width=width, height=height, step=step,
        is_bigendian=rng.randrange(2), data=array('B', rng.randbytes(length)),
    )  # fmt: skip


def compressed_image(rng, whole):
    data = rng.choice(whole)
    data = damaged(data, rng) if rng.random() < 0.8 else data
    return Message(header=header(rng), format=rng.choice(('jpeg', 'png', '')), data=data)


def quaternion(rng):
    return Message(**{axis: number(rng) for axis in 'xyzw'})


def odometry(rng):
    position = Message(**{axis: number(rng) for axis in 'xyz'})
    pose = Message(position=position, orientation=quaternion(rng))
    covariance = [number(rng) for _ in range(36)]
    linear, angular = (Message(**{axis: number(rng) for axis in 'xyz'}) for _ in range(2))
    twist = Message(twist=Message(linear=linear, angular=angular), covariance=covariance)
    return Message(header=header(rng), pose=Message(pose=pose, covariance=covariance), twist=twist)


def imu(rng):
    covariance = [number(rng) for _ in range(9)]
    return Message(
        header=header(rng), orientation=quaternion(rng), orientation_covariance=covariance
    )


def position(rng):
    covariance = [number(rng) for _ in range(9)]
    return Message(
        header=header(rng), latitude=number(rng), longitude=number(rng), altitude=number(rng),
        position_covariance=covariance, status=Message(status=rng.choice((-2, -1, 0, 2, 77))),
        position_covariance_type=rng.randrange(5),
    )  # fmt: skip


def camera_info(rng):
    names = ('plumb_bob', 'rational_polynomial', 'equidistant', 'fisheye', '', 'x')
    lengths = (0, 1, 4, 5, 8, 12, 14)
    return Message(
        header=header(rng), width=rng.choice(SIZES), height=rng.choice(SIZES),
        distortion_model=rng.choice(names), d=[number(rng) for _ in range(rng.choice(lengths))],
        k=[number(rng) for _ in range(9)], r=[number(rng) for _ in range(9)],
        p=[number(rng) for _ in range(12)], binning_x=0, binning_y=0,
        roi=Message(**{name: rng.choice(SIZES) for name in ROI}),
    )  # fmt: skip


class Listener:
    """What hears the messages: all that the node makes of them, on a tiny map."""

    def __init__(self, folder):
        satellite_map = make_map(folder)
        weights = make_weights(folder, satellite_map)
        localizer = Localizer.open(satellite_map, weights, 'cpu', progress=False)
        self.tracker, self.stamp_ns = Tracker(localizer), 0
        self.depth, self.undistorter = UsedDepth(), Undistorter()
        pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
        self.whole = [encoded(pixels, 'JPEG'), encoded(pixels, 'PNG')]

    def hear(self, rng):
        """One message; the name of what came of it."""
        kind = rng.choice(('raw', 'compressed', 'odometry', 'imu', 'position', 'info', 'range'))
        try:
            return f'{kind}: {getattr(self, kind)(rng)}'
        except JustZoomError as error:
            assert '\n' not in str(error), error
            return f'{kind}: refused'

    def raw(self, rng):
        return self.see(image_from_message(raw_image(rng), depth=self.depth), rng)

    def compressed(self, rng):
        message = compressed_image(rng, self.whole)
        return self.see(image_from_message(message, depth=self.depth), rng)

    def see(self, image, rng):
        assert image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8
        if rng.random() < 0.2:
            info = camera_info(rng)
            info.height, info.width = image.shape[:2]
            self.undistorter.set_info(info)
            image = self.undistorter.undistort(image)
        self.stamp_ns += 50_000_000
        fix = self.tracker.locate(image, self.stamp_ns)
        numbers = [fix.latitude, fix.longitude, fix.confidence, *np.ravel(fix.covariance_m2)]
        assert np.isfinite(numbers).all(), numbers
        assert np.linalg.eigvalsh(fix.covariance_m2)[0] > 0
        return str(fix.status)

    def odometry(self, rng):
        self.tracker.add_odometry(pose_from_message(odometry(rng)))
        return 'taken'

    def imu(self, rng):
        found = heading_from_message(imu(rng))
        assert found is None or np.isfinite(found).all()
        return 'taken' if found else 'nothing'

    def position(self, rng):
        latitude, longitude, covariance = prior_from_message(position(rng))
        assert np.isfinite([latitude, longitude, *np.ravel(covariance)]).all()
        return 'taken'

    def info(self, rng):
        info = camera_info(rng)
        pinhole_from_message(info, rectified=rng.random() < 0.5)
        return 'taken'

    def range(self, rng):
        given = Message(range=number(rng), min_range=number(rng), max_range=number(rng))
        found = range_from_message(given)
        assert found is None or math.isfinite(found)
        return 'taken' if found else 'nothing'


def encoded(pixels, form):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def fuzz_messages(count, rng, folder):
    listener = Listener(folder)
    return tally(count, lambda _: listener.hear(rng))


# --- files ---------------------------------------------------------------------------------------


def fuzz_bags(count, rng, folder):
    """Storage files and metadata with damage."""
    images = []
    for index in range(3):
        path = folder / f'{index}.png'
        Image.fromarray(np.full((8, 8, 3), 60 * index, np.uint8)).save(path)
        place = REGION.to_latlon(10.0 * index, 0.0)
        images.append(GeoImage(path.name, path, *place, (index + 1) * 10**9, path.name))
    write_bag(images, folder / 'mcap', '/camera', '/gps')
    copy_as_sqlite(folder / 'mcap', folder / 'sqlite')
    bags = [folder / 'mcap', folder / 'sqlite']
    whole = [{path.name: path.read_bytes() for path in bag.iterdir()} for bag in bags]

    def one(number):
        files = rng.choice(whole)
        bag = folder / 'damaged'
        bag.mkdir(exist_ok=True)
        for path in bag.iterdir():
            path.unlink()
        broken = rng.choice(list(files))
        for name, content in files.items():
            (bag / name).write_bytes(damaged(content, rng) if name == broken else content)
        return read_bag(bag)

    return tally(count, one)


def copy_as_sqlite(bag, out):
    store = get_typestore(Stores.ROS2_KILTED)
    with (
        Bag(bag) as opened,
        Writer(out, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer,
    ):
        topics = {
            name: writer.add_connection(name, kind, typestore=store)
            for name, kind in opened.topics.items()
        }
        for item in opened.messages(opened.topics):
            raw = store.serialize_cdr(item.message, item.type)
            writer.write(topics[item.topic], item.stamp_ns, raw)


def read_bag(path):
    try:
        with Bag(path) as bag:
            events = list(events_of_bag(bag, SequenceTopics.find(bag)))
        return f'{len(events)} events'
    except JustZoomError as error:
        assert '\n' not in str(error) and path.name in str(error), error
        return 'refused'


def fuzz_rasters(count, rng, folder):
    """GeoTIFFs with damage anywhere, most of it in their tags."""
    source = write_raster(folder / 'a.tif', texture(60), grid_round(CENTER, size_px=60))
    whole, broken = source.read_bytes(), folder / 'broken.tif'
    region = Region(*CENTER, 30.0, grid=2, depth=2)

    def one(number):
        content = bytearray(whole)
        reach = len(content) if rng.random() < 0.3 else 600
        for _ in range(rng.randint(1, 8)):
            content[rng.randrange(reach)] = rng.randrange(256)
        broken.write_bytes(content)
        try:
            SatelliteMap.build(broken, region, folder / 'map', crop_px=8, overwrite=True)
            return 'built'
        except JustZoomError as error:
            assert '\n' not in str(error) and 'broken.tif' in str(error), error
            return 'refused'

    return tally(count, one)


# --- counting ------------------------------------------------------------------------------------


def tally(count, one):
    """{what came of it: how often}, with the slowest input and the growth of memory after the
    first fifth."""
    found, slowest_s, settled_mb = Counter(), 0.0, resident_mb()
    for index in range(count):
        started_s = time.process_time()
        found[one(index)] += 1
        slowest_s = max(slowest_s, time.process_time() - started_s)
        assert slowest_s < SLOW_S, f'input {index} hangs'
        if index == count // 5:
            settled_mb = resident_mb()
    figures = round(slowest_s, 2), round(resident_mb() - settled_mb, 1)
    return dict(sorted(found.items())) | dict(zip(FIGURES, figures, strict=True))


KINDS = {'messages': fuzz_messages, 'bags': fuzz_bags, 'rasters': fuzz_rasters}


def fuzz(kind, count, seed=0):
    """What came of so many inputs of a kind."""
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory(prefix='justzoom-fuzzed-') as folder:
            return KINDS[kind](count, random.Random(f'{seed} {kind}'), Path(folder))
    finally:
        logging.disable(logging.NOTSET)


def run():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    for kind in KINDS:
        parser.add_argument(f'--{kind}', type=int, default=100, metavar='N')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    for kind in KINDS:
        if count := getattr(args, kind):
            print(kind, fuzz(kind, count, args.seed), flush=True)


if __name__ == '__main__':
    run()
