"""`justzoom bag`: a dataset of camera images as a rosbag2 with the true positions."""

import argparse
from typing import Any

HELP = 'write images with known positions as a rosbag2'
EPILOG = """example:
  justzoom bag frames.csv --select role=query -o flight
"""


def add_parser(subparsers: Any) -> None:
    """Add `bag` to the commands."""
    parser = subparsers.add_parser(
        'bag',
        help=HELP,
        description=f'{HELP}: CompressedImage and NavSatFix messages with the times of the images',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('images', metavar='IMAGES', help='CSV of images with positions (the published format or '
        'file, lat, lon), or a folder of geotagged images')  # fmt: skip
    add('-o', '--out', required=True, metavar='BAG', help='folder of the bag, not there yet')
    add('--select', action='append', metavar='COLUMN=VALUE', help='only the rows of the CSV with '
        'this value; may be given again')  # fmt: skip
    add('--topic', default='/camera/image/compressed', help='of the images (default %(default)s)')
    add('--truth-topic', default='/gps/fix', metavar='TOPIC', help='of the true positions '
        '(default %(default)s)')  # fmt: skip
    add('--frame-id', default='camera', metavar='FRAME', help='camera frame (default camera)')
    add('--json', action='store_true', help='print the result as JSON')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Read the dataset, write the bag."""
    import json
    from functools import partial

    from tqdm import tqdm

    from justzoom_ros.cli.topic_names import check_topics
    from justzoom_ros.io.bag_writing import write_bag
    from justzoom_ros.io.datasets import parse_select, read_images

    check_topics(args.topic, args.truth_topic)
    images = read_images(args.images, parse_select(args.select))
    progress = partial(tqdm, desc='bag', unit='image')
    write_bag(images, args.out, args.topic, args.truth_topic, args.frame_id, progress)
    stamps_ns = [image.stamp_ns for image in images if image.stamp_ns is not None]
    duration_s = (max(stamps_ns) - min(stamps_ns)) / 1e9
    if args.json:
        print(json.dumps({'bag': args.out, 'images': len(images), 'duration_s': duration_s}))
    else:
        print(f'{args.out}: {len(images)} images over {duration_s:g} s on {args.topic}')
