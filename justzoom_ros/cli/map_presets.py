"""`justzoom map presets`: imagery that may be taken by name, with licences."""

import argparse
import json
from dataclasses import asdict
from typing import Any


def add_presets(jobs: Any) -> None:
    """Add the job to `justzoom map`."""
    parser = jobs.add_parser(
        'presets',
        help='list imagery that may be taken by name',
        description='List sources in the public domain or under an open licence, for '
        '`justzoom map build preset:NAME`.',
        epilog='example: justzoom map presets --json',
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run `justzoom map presets`."""
    from justzoom_ros.maps.servers.presets import PRESETS

    presets = {name: PRESETS.get(name) for name in PRESETS.list()}
    if args.json:
        print(json.dumps({name: asdict(preset) for name, preset in presets.items()}))
        return
    for name, preset in presets.items():
        print(f'preset:{name:12}{preset.covers}: {preset.licence}, {preset.terms}')
