"""Files that a user gives with a name each."""

from collections.abc import Sequence

from justzoom_ros.errors import ConfigError


def named_files(words: Sequence[str], what: str) -> dict[str, str]:
    """{name: file} of words such as NAME=FILE. Raises ConfigError, naming `what` they are, for
    other words and for a name that comes twice."""
    parts = (word.partition('=') for word in words)
    files = {name: file for name, _, file in parts}
    if not all(files.values()) or len(files) < len(words):
        raise ConfigError(f'give each {what} as NAME=FILE, each name once')
    return files
