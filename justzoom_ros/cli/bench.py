"""`justzoom bench`: how fast and how large everything is on this machine."""

import argparse

EXAMPLE = """examples:
  justzoom bench                                # all parts at the shipped size
  justzoom bench published searches --size base # DINOv2-base, random weights
  justzoom bench --json > bench.json

Times are medians of runs taken in turns in one process; compare their ratios, not their values.
The parts: published, the published way of a frame against a map that is encoded once; searches,
posteriors over 65,536 cells; input, everything else of a frame; embeddings, building them; node,
the real node over DDS; memory, growth over thousands of frames.
"""
PARTS = ('published', 'searches', 'input', 'embeddings', 'node', 'memory')


def add_parser(subparsers):
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
    add('--size', default='small', choices=('small', 'base'), help='of the encoder: small as the '
        'shipped one, base as DINOv2-base at 384 pixels (default small)')  # fmt: skip
    add('--frames', type=int, default=10_000, metavar='N', help='of part memory (default 10000)')
    add('-o', '--out', default='out/bench', metavar='DIR', help="folder for bench.json and the "
        "node's log (default out/bench)")  # fmt: skip
    add('--json', action='store_true', help='print one JSON object on stdout and nothing else')
    parser.set_defaults(run=run)


def run(args):
    """Measure, write, print."""
    import json
    import sys

    from justzoom_ros.errors import ConfigError
    from justzoom_ros.files import output_folder, write_json

    parts = args.parts or list(PARTS)
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise ConfigError(f'{", ".join(unknown)} is no part; choose of {", ".join(PARTS)}')
    if args.frames < 20:
        raise ConfigError(f'--frames is {args.frames}; it must be at least 20')
    out, found = output_folder(args.out), {'machine': _machine(), 'size': args.size}
    for part in parts:
        print(f'justzoom: measuring {part}', file=sys.stderr)
        found[part] = _measure(part, args, out)
    write_json(out / 'bench.json', found)
    print(json.dumps(found) if args.json else '\n'.join(_lines(found)))


def _measure(part, args, out):
    from justzoom_ros.bench import parts

    if part in ('published', 'searches'):
        return getattr(parts, part)(args.size)
    if part == 'embeddings':
        from justzoom_ros.bench.embeddings import embeddings

        return embeddings(args.size)
    if part == 'input':
        return parts.inputs()
    from functools import partial

    from tqdm import tqdm

    from justzoom_ros.demo import demo_map

    map_path = demo_map()
    weights = map_path / 'weights.safetensors'
    if part == 'memory':
        from justzoom_ros.bench.memory import memory

        return memory(map_path, weights, args.frames, partial(tqdm, desc='memory', unit='frame'))
    from justzoom_ros.bench.node import node

    return node(out, map_path, weights)


def _machine():
    """What the figures were measured on."""
    import os
    import platform
    from pathlib import Path

    import torch

    names = [
        line.partition(':')[2].strip()
        for line in Path('/proc/cpuinfo').read_text().splitlines()
        if line.startswith('model name')
    ]
    return {
        'processor': names[0] if names else platform.machine(),
        'cores': os.cpu_count(),
        'load': round(os.getloadavg()[0], 2),
        'torch': torch.__version__,
        'threads': torch.get_num_threads(),
    }


def _lines(found):
    """Nested figures as indented lines."""

    def walk(values, indent):
        for name, value in values.items():
            if isinstance(value, dict) and 'median_ms' in value:
                yield f'{indent}{name:28s}{value["median_ms"]:10.2f} ms'
            elif isinstance(value, dict):
                yield f'{indent}{name}'
                yield from walk(value, indent + '  ')
            else:
                yield f'{indent}{name:28s}{value!s:>10}'

    return list(walk(found, ''))
