"""`ros2 justzoom ...`: the same commands where ros2cli is.

ros2cli takes any class with these members for a command, so this one derives from none of its
classes: nothing of ROS is imported here, and nothing breaks where it is not installed.
"""

import argparse
from typing import Any

from justzoom_ros.cli.main import main

NO_PREFIX = '\0'
"""No word of a command line begins so."""


class JustZoomCommand:
    """Localize camera images on an overhead map."""

    NAME = 'justzoom'
    """ros2cli sets it too, to the name of the entry point."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        """Take all that follows as it is, --help included: our own parser reads it."""
        parser.add_argument('arguments', nargs=argparse.REMAINDER)
        parser.prefix_chars = NO_PREFIX

    def main(self, *, parser: argparse.ArgumentParser, args: Any) -> int:
        """Run the command; returns the exit status."""
        return main(args.arguments)
