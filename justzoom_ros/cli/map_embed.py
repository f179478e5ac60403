"""`justzoom map embed`: encode a map before a robot needs it, in as many processes as wanted."""

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from justzoom_ros.runtimes.registry import RUNTIMES

if TYPE_CHECKING:
    from justzoom_ros.embeddings.cell_embeddings import EmbeddingBuild
    from justzoom_ros.embeddings.parts import Shard

EXAMPLE = """examples:
  justzoom map embed maps/town --weights runs/town/weights.safetensors
  torchrun --nproc-per-node 4 -m justzoom_ros.cli.main map embed maps/town --weights w.safetensors
  justzoom map embed maps/town --weights w.safetensors --shard 2/8   # on the second of 8 machines
  justzoom map embed maps/town --weights w.safetensors --check

The node and every command do this by themselves where it was not done. Interrupted, it goes on
from the batches that are finished. Where several machines share no disk: run one --shard on each,
copy the .part files that they name into the folder `embeddings` of one map, and run there without
--shard.
"""


def add_embed(jobs: Any) -> None:
    """Add `embed` to the jobs of `justzoom map`."""
    parser = jobs.add_parser(
        'embed',
        help='encode all cells of a map for some weights',
        description='Encode every cell of a map that a policy can look at, and keep that beside '
        'the map.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('map', metavar='DIR', help='map folder')
    add('--weights', required=True, metavar='FILE', help='weights of the policy')
    add(
        '--runtime',
        default='auto',
        help=f'where the policy runs: {", ".join(RUNTIMES.list())} (default auto)',
    )
    add('--shard', metavar='I/N', help='encode the I-th of N shares alone (under torchrun each '
        'process takes its own)')  # fmt: skip
    add('--check', action='store_true', help='encode nothing: read all that is there against its '
        'checksum')  # fmt: skip
    add('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=embed)


def embed(args: argparse.Namespace) -> None:
    """Run `justzoom map embed`."""
    from justzoom_ros.embeddings.cell_embeddings import check_embeddings, make_embeddings
    from justzoom_ros.maps.satellite_map import SatelliteMap
    from justzoom_ros.models import ZoomPolicy
    from justzoom_ros.runtimes import open_runtime
    from justzoom_ros.zoom_search import check_fits

    shard = _shard(args.shard)
    satellite_map, policy = SatelliteMap.open(args.map), ZoomPolicy.load(args.weights)
    check_fits(satellite_map, policy, args.weights)
    _choose_gpu()
    runtime = open_runtime(policy, args.runtime)
    if args.check:
        file = check_embeddings(satellite_map, runtime)
        print(json.dumps({'file': str(file)}) if args.json else f'{file} is whole')
        return
    made = make_embeddings(satellite_map, runtime, shard, progress=_leads())
    _tell(made, shard, args)


def _tell(made: 'EmbeddingBuild', shard: 'Shard', args: argparse.Namespace) -> None:
    facts = {
        'file': str(made.file) if made.file else None,
        'cells': len(made.cells.rows),
        'encoded': made.encoded,
        'missing_batches': made.missing,
        'parts': [str(path) for path in made.parts],
        'MB': round(made.table.nbytes / 1e6, 2),
    }
    # Of the processes of torchrun, the one that finishes last tells what came out.
    if made.file or not _under_torchrun():
        print(json.dumps(facts) if args.json else _line(facts, shard))
    else:
        print(_line(facts, shard), file=sys.stderr)


def _line(facts: dict[str, Any], shard: 'Shard') -> str:
    done = f'{facts["encoded"]} of {facts["cells"]} cells encoded now'
    if facts['file']:
        return f'{facts["file"]}: {facts["MB"]} MB, {done}'
    return (
        f'shard {shard}: {done}, {facts["missing_batches"]} batches missing from others; finished '
        f'so far: {" ".join(facts["parts"])}'
    )


def _shard(text: str | None) -> 'Shard':
    """The share that was asked for, or that torchrun gives this process."""
    from justzoom_ros.embeddings.parts import Shard
    from justzoom_ros.errors import ConfigError

    if not _under_torchrun():
        return Shard.parse(text) if text else Shard()
    if text:
        raise ConfigError('--shard and torchrun both say who encodes what; leave one of them out')
    return Shard(int(os.environ['RANK']) + 1, int(os.environ['WORLD_SIZE']))


def _under_torchrun() -> bool:
    return 'RANK' in os.environ and 'WORLD_SIZE' in os.environ


def _leads() -> bool:
    """True in the one process of a machine that shows progress."""
    return os.environ.get('LOCAL_RANK', '0') == '0'


def _choose_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count())
