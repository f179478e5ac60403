"""`justzoom`: every job of the package from the command line.

Exit status: 0 done, 2 wrong input (one line on stderr). One module of this folder per command;
each adds its parser and runs its job, importing what is heavy only then.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

from justzoom_ros.errors import JustZoomError
from justzoom_ros.version import __version__

COMMANDS = (
    'map',
    'train',
    'localize',
    'evaluate',
    'compare',
    'chart',
    'calibrate',
    'bag',
    'replay',
    'mavlink',
    'view',
    'demo',
    'city',
    'dataset',
    'export',
    'bench',
)


class Parser(argparse.ArgumentParser):
    """Says what is wrong on one line, as every other error is told."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but what is unknown is told by the command that it was given to."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            words = sys.argv[1:] if args is None else list(args)
            command = self.command(words)
            meant = command.nearly(unknown)
            hint = f'; did you mean {" or ".join(meant)}?' if meant else ''
            command.error(f'unrecognized arguments: {" ".join(unknown)}{hint}')
        return found

    def command(self, words: Sequence[str]) -> 'Parser':
        """The parser of the command, or of its job, that the words of a command line name."""
        for action in self._actions:
            for number, word in enumerate(words):
                # Of all actions only those of commands have parsers to choose from.
                chosen = action.choices.get(word) if isinstance(action.choices, dict) else None
                if isinstance(chosen, Parser):
                    return chosen.command(words[number + 1 :])
        return self

    def nearly(self, unknown: Sequence[str]) -> list[str]:
        """The options that some unknown ones are nearly."""
        known, found = list(self._option_string_actions), list[str]()
        for word in unknown:
            if word.startswith('--'):
                found += get_close_matches(word.partition('=')[0], known, n=1)
        return found

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'{self.prog}: error: {message} (see {self.prog} --help)\n')


def build_parser(commands: Sequence[str] = COMMANDS) -> Parser:
    """The command line as an argparse parser, the whole of it or some of COMMANDS alone."""
    parser = Parser(
        prog='justzoom', description='Where in the city is this camera? One image and a map.'
    )
    parser.add_argument('--version', action='version', version=f'justzoom {__version__}')
    subparsers = parser.add_subparsers(metavar='COMMAND', required=True)
    for command in commands:
        import_module(f'justzoom_ros.cli.{command}').add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    # The others are not even imported: every start is quicker.
    named = [word for word in words[:1] if word in COMMANDS]
    args = build_parser(named or COMMANDS).parse_args(words)
    try:
        status = args.run(args) or 0
        sys.stdout.flush()
        return status
    except JustZoomError as error:
        print(f'justzoom: error: {error}', file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Who reads has enough, as `head` does; the interpreter must not try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print('justzoom: interrupted', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())
