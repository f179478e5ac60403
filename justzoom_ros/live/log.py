"""What the package logs and raises, in the words of a node's log. No ROS in here."""

import logging
from typing import Any

from justzoom_ros.errors import JustZoomError


class RosHandler(logging.Handler):
    """Passes what the package logs on to the log of a node."""

    def __init__(self, logger: Any) -> None:
        """`logger`: what `get_logger()` of a node gives."""
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        # Two calls: rclpy wants one severity from each line of code.
        if record.levelno >= logging.WARNING:
            self._logger.warning(record.getMessage())
        else:
            self._logger.info(record.getMessage())


def describe_error(error: Exception) -> str:
    """The sentence of an error of ours; the type and text of any other."""
    if isinstance(error, JustZoomError):
        return str(error)
    return f'{type(error).__name__}: {error}'
