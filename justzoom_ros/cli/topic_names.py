"""Names of topics given on the command line."""

import re

from justzoom_ros.errors import ConfigError

TOPIC_NAME = re.compile(r'(/|~/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*')
"""As ROS 2 has them (design.ros2.org, topic and service names)."""


def check_topics(*names: str) -> None:
    """Raise ConfigError where one can be no topic of ROS 2."""
    for name in names:
        if not TOPIC_NAME.fullmatch(name):
            raise ConfigError(
                f'{name!r} is no name of a topic: letters, digits and _ between slashes, no part '
                'beginning with a digit'
            )
