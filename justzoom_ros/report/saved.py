"""Reports that were written before."""

import json
import re
from pathlib import Path

from justzoom_ros.errors import ConfigError
from justzoom_ros.report.page import FORMAT

DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def read_report(path: str | Path) -> str:
    """The text of a report, given its file or the folder that holds report.html. Raises
    ConfigError where there is none, or where another version wrote it."""
    file = Path(path)
    file = file / 'report.html' if file.is_dir() else file
    try:
        text = file.read_text(encoding='utf-8')
    except OSError as error:
        raise ConfigError(
            f'{file} cannot be read: {error.strerror}; `justzoom replay -o` writes one'
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f'{file} is no report of justzoom_ros') from error
    _check_format(file, text)
    return text


def _check_format(file: Path, text: str) -> None:
    found = DATA.search(text)
    try:
        written = json.loads(found[1])['format'] if found else None
    except (ValueError, KeyError, TypeError):
        written = None
    if written is None:
        raise ConfigError(f'{file} is no report of justzoom_ros')
    if written != FORMAT:
        raise ConfigError(
            f'{file} is of another version (format {written}, this one reads {FORMAT}); make it '
            'anew, or open the file itself in a browser'
        )
