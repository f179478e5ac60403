"""Make the demo map again: `python -m justzoom_ros.worlds.town maps/demo`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from justzoom_ros.worlds.town import build_demo_map


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog='python -m justzoom_ros.worlds.town', description='Make the demo map again.'
    )
    parser.add_argument('out', type=Path, help='the map folder, e.g. maps/demo')
    built = build_demo_map(parser.parse_args(arguments).out)
    print(f'{built.path}: {built.region.side_m:g} m at {built.resolution_m:g} m per pixel')


if __name__ == '__main__':
    main()
