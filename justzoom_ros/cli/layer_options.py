"""Further layers of a map on the command line: `--also IMAGERY --as NAME`."""

import argparse
from typing import Any

from justzoom_ros.errors import ConfigError


def add_layer_options(parser: Any) -> None:
    """Add --also and --as, which come in pairs."""
    group = parser.add_argument_group(
        'further pictures of the place',
        'of other dates or providers, kept in the same folder; registration takes for each frame '
        'the one that it fits best',
    )
    add = group.add_argument
    add('--also', action='append', default=[], metavar='SOURCE', help='imagery of a further '
        'layer; without another SOURCE it is added to the map in --out')  # fmt: skip
    add('--as', action='append', default=[], metavar='NAME', dest='layer_names', help='name of '
        'the layer, such as winter; once for each --also')  # fmt: skip


def layers_of(args: argparse.Namespace) -> dict[str, str]:
    """{name: source} of the further layers. Raises ConfigError where they come in no pairs."""
    from justzoom_ros.maps.layers import check_layer_name

    if len(args.also) != len(args.layer_names) or len(set(args.layer_names)) != len(args.also):
        raise ConfigError('each --also SOURCE needs an --as NAME of its own')
    for name in args.layer_names:
        check_layer_name(name)
    if args.source is None and not args.also:
        raise ConfigError('there is no imagery: give a SOURCE, or --also SOURCE --as NAME')
    return dict(zip(args.layer_names, args.also, strict=True))
