"""`justzoom dataset`: make a dataset to train on of photos with positions."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from justzoom_ros.io.photos.source import PHOTO_SOURCES, FaultKind

if TYPE_CHECKING:
    from justzoom_ros.curation.build import SourcePath
    from justzoom_ros.curation.config import BuildConfig
    from justzoom_ros.curation.report import Report

EXAMPLE = """examples:
  justzoom dataset build photos/ --map maps/city -o runs/mine
  justzoom dataset build bag_1 bag_2 --map maps/city -o runs/drives --camera /front/image_raw
  justzoom dataset build images.json --map maps/city -o runs/crowd --drop panorama
  justzoom dataset build 2011_09_26/ --map maps/karlsruhe -o runs/kitti --camera image_02

What is wrong with a photo ends the build by its name; --drop KIND leaves such photos out instead.
What is left out, for that or for its quality, stands in dropped.csv and is counted in report.html.
"""


def add_parser(subparsers: Any) -> None:
    """Add `dataset` and its job."""
    parser = subparsers.add_parser(
        'dataset',
        help='make a dataset of your own photos',
        description='Datasets to train on.',
        epilog='example: justzoom dataset build photos/ --map maps/city -o runs/mine',
    )
    jobs = parser.add_subparsers(metavar='JOB', required=True)
    _add_build(jobs)


def _add_build(jobs: Any) -> None:
    parser = jobs.add_parser(
        'build',
        help='make a dataset of photos with positions and a map',
        description='Make a dataset in the published layout, with headings, lenses and splits by '
        'place, of geotagged photos, a CSV, GeoJSON, JSON of Mapillary, bags or KITTI drives.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('sources', nargs='+', metavar='SOURCE', help='folder of geotagged photos, bag, CSV, '
        'GeoJSON, JSON of Mapillary, or KITTI drive; several go into one dataset')  # fmt: skip
    add('--map', required=True, metavar='DIR', help='map folder of where they were taken')
    add('-o', '--out', required=True, metavar='DIR', help='folder to make')
    add('--kind', choices=PHOTO_SOURCES.list(), help='what the sources are, where their looks '
        'mislead')  # fmt: skip
    add('--drop', action='append', default=[], metavar='KIND', choices=[k.value for k in
        FaultKind], help='leave such photos out instead of ending: '
        f'{", ".join(FaultKind)}; may be given again')  # fmt: skip
    add('--overwrite', action='store_true', help='replace a dataset that is there')
    add('--workers', type=int, metavar='N', help='threads (default: one per core)')
    add('--no-pictures', action='store_true', help='no pictures in the report (no matplotlib)')
    add('--json', action='store_true', help='print one JSON object on stdout and nothing else')
    _add_bag_options(parser)
    _add_camera_options(parser)
    _add_filter_options(parser)
    parser.set_defaults(run=build)


def _add_bag_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group('which part of a source, where there is a choice').add_argument
    add('--camera', metavar='NAME', help='image topic of a bag, or camera of a KITTI drive such '
        'as image_02')  # fmt: skip
    add('--truth', metavar='TOPIC', help='NavSatFix topic of the true positions')
    add('--odom', metavar='TOPIC', help='Odometry topic, which gives headings')
    add('--imu', metavar='TOPIC', help='Imu topic with absolute orientations, instead of odometry')
    add('--camera-info', metavar='TOPIC', help='CameraInfo topic')


def _add_camera_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group('the cameras').add_argument
    add('--fov', type=float, metavar='DEG', help='horizontal field of view of photos of whose '
        'lens nothing is told')  # fmt: skip
    add('--heading', choices=('auto', 'own', 'track', 'none'), default='auto', help="each photo's "
        "own, the track's direction, own or else the track's (auto, default), none")  # fmt: skip
    add('--mount', type=float, metavar='DEG', help='where the camera looks, degrees clockwise '
        "from ahead (default: as most of a track's own headings say, else 0)")  # fmt: skip
    add('--declination', type=float, metavar='DEG', help='added to magnetic headings (default 0)')
    add('--position-std', type=float, metavar='M', help='of positions that state none '
        '(default 7.5)')  # fmt: skip
    add('--heading-std', type=float, metavar='DEG', help='of headings that state none '
        '(default 15)')  # fmt: skip
    add('--camera-height', type=float, metavar='M', help='above the ground, for its column')


def _add_filter_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group('what is kept, and in which split').add_argument
    add('--max-heading-error', type=float, metavar='DEG', help='between a heading and where its '
        'track says that the camera looks (default 45; 180: any)')  # fmt: skip
    add('--max-speed', type=float, metavar='M/S', help='(default 40)')
    add('--max-jump', type=float, metavar='M', help='off the line between neighbours '
        '(default 15)')  # fmt: skip
    add('--min-spacing', type=float, metavar='M', help='between photos of a track that look the '
        'same way (default 1)')  # fmt: skip
    add('--min-sharpness', type=float, metavar='SHARE', help="of the median of a photo's track "
        '(default 0.25)')  # fmt: skip
    add('--val', type=float, metavar='SHARE', help='of the photos to choose by (default 0.1)')
    add('--test', type=float, metavar='SHARE', help='of the photos to judge by (default 0.1)')
    add('--block', type=float, metavar='M', help='side of the squares that belong to one split '
        '(default 100)')  # fmt: skip
    add('--buffer', type=float, metavar='M', help='round squares that are kept back '
        '(default 25)')  # fmt: skip
    add('--max-width', type=int, metavar='PX', help='of a picture (default 1280)')
    add('--seed', type=int, metavar='N', help='draws the squares (default 0)')


def build(args: argparse.Namespace) -> None:
    """Run `justzoom dataset build`."""
    from dataclasses import asdict

    from justzoom_ros.curation.build import build_dataset
    from justzoom_ros.curation.report import notes

    if not args.no_pictures:
        from justzoom_ros.plots.figures import require_matplotlib

        require_matplotlib()
    report = build_dataset(
        _sources(args),
        args.map,
        args.out,
        _config(args),
        args.overwrite,
        not args.no_pictures,
        _Bars(),
    )
    if args.json:
        print(json.dumps({'dataset': args.out, **asdict(report)}))
        return
    for line in (*_lines(args.out, report), *notes(report)):
        print(line)


def _lines(out: str, report: 'Report') -> list[str]:
    kept, dropped = sum(report.kept.values()), sum(report.dropped.values())
    splits = ', '.join(f'{count} {split}' for split, count in report.kept.items())
    lines = [f'{out}: {kept} photos of {kept + dropped} ({splits})']
    lines += [f'left out: {count} {reason}' for reason, count in report.dropped.items()]
    return lines


def _sources(args: argparse.Namespace) -> 'list[SourcePath]':
    from pathlib import Path

    from justzoom_ros.curation.build import SourcePath
    from justzoom_ros.io.photos.source import PhotoOptions

    options = PhotoOptions(args.camera, args.truth, args.odom, args.imu, args.camera_info)
    return [SourcePath(Path(path), options, args.kind) for path in args.sources]


def _config(args: argparse.Namespace) -> 'BuildConfig':
    """What the options say, and the defaults of what they do not."""
    import os

    from justzoom_ros.curation.config import BuildConfig

    given = {
        'fov_deg': args.fov,
        'heading': args.heading,
        'mount_deg': args.mount,
        'declination_deg': args.declination,
        'position_std_m': args.position_std,
        'heading_std_deg': args.heading_std,
        'camera_height_m': args.camera_height,
        'max_heading_error_deg': args.max_heading_error,
        'max_speed_m_s': args.max_speed,
        'jump_m': args.max_jump,
        'min_spacing_m': args.min_spacing,
        'min_sharpness': args.min_sharpness,
        'val': args.val,
        'test': args.test,
        'block_m': args.block,
        'buffer_m': args.buffer,
        'max_width_px': args.max_width,
        'seed': args.seed,
        'workers': args.workers or os.cpu_count() or 1,
        'drop': tuple(args.drop),
    }
    return BuildConfig(**{name: value for name, value in given.items() if value is not None})


class _Bars:
    """Progress bars on stderr, one after the other."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, what: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._bar is None or self._bar.desc.rstrip(': ') != what:
            self._bar = tqdm(desc=what, total=total, file=sys.stderr)
        self._bar.update(done - self._bar.n)
        if done == total:
            self._bar.close()
