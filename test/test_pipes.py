"""The command line at the end of a pipe."""

import os

from justzoom_ros.cli import main as command_line


class Commands:
    """Stands for the parser: its command prints into a pipe that nobody reads."""

    def parse_args(self, arguments):
        return self

    def run(self, args):
        raise BrokenPipeError


def test_a_reader_that_has_enough_is_no_traceback(monkeypatch, tmp_path):
    """As with `justzoom ... | head -1`: the status is that of a program that SIGPIPE ended."""
    monkeypatch.setattr(command_line, 'build_parser', lambda commands: Commands())
    with (tmp_path / 'out').open('w') as out:
        monkeypatch.setattr('sys.stdout', out)
        assert command_line.main([]) == 141
        # What is still buffered goes nowhere, and nothing complains.
        assert os.readlink(f'/proc/self/fd/{out.fileno()}') == os.devnull
