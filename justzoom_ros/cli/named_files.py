"""Files that a user gives with a name each."""

from justzoom_ros.errors import ConfigError


def named_files(words, what):
    """{name: file} of words such as NAME=FILE. Raises ConfigError, naming `what` they are, for
    other words and for a name that comes twice."""
    files = dict(word.partition('=')[::2] for word in words)
    if not all(files.values()) or len(files) < len(words):
        raise ConfigError(f'give each {what} as NAME=FILE, each name once')
    return files
