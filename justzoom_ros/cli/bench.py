"""`justzoom bench`: how fast and how large everything is on this machine."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

EXAMPLE = """examples:
  justzoom bench --json > bench.json            # everything: a quarter of an hour on two cores
  justzoom bench --size small input node        # some parts, at the shipped size: a minute
  justzoom bench published searches --size base # DINOv2-base, random weights

Times are medians of runs taken in turns in one process; compare their ratios, not their values.
The parts: published, the published way of a frame against a map that is encoded once; searches,
posteriors over 65,536 cells; input, everything else of a frame; embeddings, building them;
registration, a frame against a whole map and near a known place; node, the real node over DDS;
browsers, the node's latency with and without eleven browsers on its live page;
memory, growth of a tracker and of the real node over thousands of frames; soak, the real node for
--minutes at 10 Hz while sensors fail and recordings loop (left out unless it is named); gpu, a
frame in single and half precision and as a CUDA graph (left out where there is no GPU, unless it
is named).
"""
SIZES = ('small', 'base')
SIZED = ('published', 'searches', 'embeddings', 'gpu')
"""Parts that are measured at each size."""
PARTS = (
    'published', 'searches', 'input', 'embeddings', 'registration', 'node', 'browsers', 'memory',
    'soak', 'gpu',
)  # fmt: skip


def add_parser(subparsers: Any) -> None:
    """Add `bench` to the commands."""
    parser = subparsers.add_parser(
        'bench',
        help='measure how fast and how large everything is here',
        description='Measure this machine: encoder, searches, belief, node, memory.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('parts', nargs='*', metavar='PART', help=f'{", ".join(PARTS)} (default: all)')
    add('--size', default='both', choices=(*SIZES, 'both'), help='of the encoder in '
        f'{", ".join(SIZED)}: small as the shipped one, base as DINOv2-base at 384 pixels '
        '(default both)')  # fmt: skip
    add('--frames', type=int, default=10_000, metavar='N', help='of part memory (default 10000)')
    add('--minutes', type=float, default=60.0, metavar='N', help='of part soak (default 60)')
    add('-o', '--out', default='out/bench', metavar='DIR', help="folder for bench.json and the "
        "node's log (default out/bench)")  # fmt: skip
    add('--json', action='store_true', help='print one JSON object on stdout and nothing else')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure, write, print."""
    import json
    import sys
    import time

    from justzoom_ros.errors import ConfigError
    from justzoom_ros.files import output_folder, write_json

    parts = args.parts or _default_parts()
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise ConfigError(f'{", ".join(unknown)} is no part; choose of {", ".join(PARTS)}')
    if not args.minutes > 0:
        raise ConfigError(f'--minutes is {args.minutes:g}; it must be above 0')
    if args.frames < 20:
        raise ConfigError(f'--frames is {args.frames}; it must be at least 20')
    out, work = output_folder(args.out), _work(parts, args.size)
    found: dict[str, dict[str, Any]] = {'machine': _machine()}
    for number, (part, size) in enumerate(work, 1):
        name, started_s = f'{part} {size}'.strip(), time.monotonic()
        print(f'justzoom: measuring {name} ({number} of {len(work)})', file=sys.stderr)
        measured = _measure(part, size, args, out)
        found.setdefault(part, {}).update({size: measured} if size else measured)
        write_json(out / 'bench.json', found)
        print(f'justzoom: {name} took {time.monotonic() - started_s:.0f} s', file=sys.stderr)
    print(json.dumps(found) if args.json else '\n'.join(_lines(found)))


def _default_parts() -> list[str]:
    import torch

    left_out = {'soak'} if torch.cuda.is_available() else {'soak', 'gpu'}
    return [part for part in PARTS if part not in left_out]


def _work(parts: Sequence[str], size: str) -> list[tuple[str, str]]:
    """[(part, size)] of what is to be measured; '' where a part has one size only."""
    sizes = SIZES if size == 'both' else (size,)
    return [(part, s) for part in parts for s in (sizes if part in SIZED else ('',))]


def _measure(part: str, size: str, args: argparse.Namespace, out: Path) -> dict[str, Any]:
    from justzoom_ros.bench import embeddings, gpu, parts

    if part == 'published':
        return parts.measure_published(size)
    if part == 'searches':
        return parts.measure_searches(size)
    if part == 'embeddings':
        return embeddings.measure_embeddings(size)
    if part == 'gpu':
        return gpu.measure_gpu(size)
    return parts.measure_inputs() if part == 'input' else _measure_demo(part, args, out)


def _measure_demo(part: str, args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """The parts that need the demo's map and weights."""
    from functools import partial

    from tqdm import tqdm

    from justzoom_ros.bench.memory import measure_memory
    from justzoom_ros.bench.node import measure_node, measure_node_memory
    from justzoom_ros.bench.registration import measure_registration
    from justzoom_ros.bench.soak import measure_soak
    from justzoom_ros.bench.view import measure_browsers
    from justzoom_ros.worlds.demo import demo_map

    map_path = demo_map()
    if part == 'registration':
        return measure_registration(map_path)
    weights = map_path / 'weights.safetensors'
    if part == 'node':
        return measure_node(out, map_path, weights)
    if part == 'browsers':
        return measure_browsers(out, map_path, weights)
    bars = {name: partial(tqdm, desc=name, unit='frame') for name in ('tracker', 'node', 'soak')}
    if part == 'soak':
        return measure_soak(out, map_path, None, args.minutes, progress=bars['soak'])
    return {
        'tracker': measure_memory(map_path, weights, args.frames, bars['tracker']),
        'node': measure_node_memory(out, map_path, weights, args.frames, bars['node']),
    }


def _machine() -> dict[str, Any]:
    """What the figures were measured on, and when."""
    import os
    import platform
    from datetime import datetime, timezone

    import torch

    names = [
        line.partition(':')[2].strip()
        for line in Path('/proc/cpuinfo').read_text().splitlines()
        if line.startswith('model name')
    ]
    return {
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'processor': names[0] if names else platform.machine(),
        'cores': os.cpu_count(),
        'load': round(os.getloadavg()[0], 2),
        'torch': torch.__version__,
        'threads': torch.get_num_threads(),
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _lines(found: Mapping[str, Any]) -> list[str]:
    """Nested figures as indented lines."""

    def walk(values: Mapping[str, Any], indent: str) -> Iterator[str]:
        for name, value in values.items():
            if isinstance(value, dict) and 'median_ms' in value:
                yield f'{indent}{name:28s}{value["median_ms"]:10.2f} ms'
            elif isinstance(value, dict):
                yield f'{indent}{name}'
                yield from walk(value, indent + '  ')
            else:
                yield f'{indent}{name:28s}{value!s:>10}'

    return list(walk(found, ''))
