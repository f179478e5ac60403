"""`justzoom bag`: a dataset of camera images as a rosbag2 with the true positions."""

HELP = 'write images with known positions as a rosbag2'
EPILOG = """example:
  justzoom bag frames.csv --select role=query -o flight
"""


def add_parser(subparsers):
    """Add `bag` to the commands."""
    import argparse

    parser = subparsers.add_parser(
        'bag',
        help=HELP,
        description=f'{HELP}: CompressedImage and NavSatFix messages with the times of the images',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'images', help='CSV of images with positions, or a folder of geotagged images'
    )
    parser.add_argument('-o', '--out', required=True, help='folder of the bag, not there yet')
    parser.add_argument(
        '--select',
        action='append',
        metavar='COLUMN=VALUE',
        help='only the rows of the CSV with this value; may be given again',
    )
    parser.add_argument(
        '--topic', default='/camera/image/compressed', help='topic of the images (%(default)s)'
    )
    parser.add_argument(
        '--truth-topic', default='/gps/fix', help='topic of the true positions (%(default)s)'
    )
    parser.add_argument('--frame-id', default='camera', help='camera frame (%(default)s)')
    parser.add_argument('--json', action='store_true', help='print the result as JSON')
    parser.set_defaults(run=run)


def run(args):
    """Read the dataset, write the bag."""
    import json
    from functools import partial

    from tqdm import tqdm

    from justzoom_ros.bags import write_bag
    from justzoom_ros.benchmark.datasets import parse_select, read_images

    images = read_images(args.images, parse_select(args.select))
    progress = partial(tqdm, desc='bag', unit='image')
    write_bag(images, args.out, args.topic, args.truth_topic, args.frame_id, progress)
    stamps_ns = [image.stamp_ns for image in images]
    duration_s = (max(stamps_ns) - min(stamps_ns)) / 1e9
    if args.json:
        print(json.dumps({'bag': args.out, 'images': len(images), 'duration_s': duration_s}))
    else:
        print(f'{args.out}: {len(images)} images over {duration_s:g} s on {args.topic}')
