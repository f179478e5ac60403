"""A `Page` as one HTML file: style, map library, program and data inside it, nothing fetched.

The map is Leaflet's (BSD-2-Clause), which comes with the package django-js-lib-leaflet: files
alone, it needs no Django. Everything else is in `assets/`.
"""

import base64
import html
import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.files import writing
from justzoom_ros.report.content import Page
from justzoom_ros.version import __version__

log = logging.getLogger(__name__)

SCRIPTS = ('words.js', 'chart.js', 'heat.js', 'map.js', 'page.js')
"""The program, in the order in which its parts need each other."""

FORMAT = 1
"""Of the data in a page; a change that a reader of it would trip over counts it up."""

DIGITS = 7
"""Significant digits of numbers in a page: a millimetre of a map of ten kilometres."""

LEAFLET_MISSING = (
    'report pages need Leaflet, which is not installed; pip install django-js-lib-leaflet'
)


def write_page(path: str | Path, page: Page) -> None:
    """Write a page as an HTML file, whole or not at all. Raises OutputError,
    RuntimeUnavailableError without Leaflet."""
    text = page_html(page)
    with writing(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def write_report(path: Path, write: Callable[..., None], *about: Any) -> None:
    """`write(path, *about)` beside other results: where Leaflet is missing, a warning says so and
    the others are not lost."""
    if leaflet_there():
        write(path, *about)
    else:
        log.warning('%s is left out: %s', path, LEAFLET_MISSING)


def page_html(page: Page) -> str:
    """The text of a page. Raises RuntimeUnavailableError without Leaflet."""
    parts = {
        'title': html.escape(page.title),
        'style': leaflet_css() + asset('page.css'),
        'data': page_json(page).replace('<', '\\u003c'),
        'leaflet': _script_text(_leaflet_file('leaflet.js')),
        'script': _script_text(_program(page.live)),
    }
    # In one go: what is put in may itself hold braces.
    return re.sub(r'\{\{(\w+)\}\}', lambda found: parts[found[1]], asset('page.html'))


def page_json(page: Page) -> str:
    """What a page shows as JSON, as `assets/page.js` takes it."""
    shown = asdict(page) | {'format': FORMAT, 'footer': _footer(page)}
    return json.dumps(plain(shown), allow_nan=False, separators=(',', ':'))


def plain(value: Any) -> Any:
    """A value as JSON takes it: arrays as lists, numbers short, None for what is none."""
    if isinstance(value, float | np.floating):
        number = float(value)
        return float(f'{number:.{DIGITS}g}') if math.isfinite(number) else None
    if isinstance(value, Mapping):
        return {key: item if key == 'latlon' else plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def leaflet_there() -> bool:
    """True where pages can be made."""
    return find_spec('js_lib_leaflet') is not None


def require_leaflet() -> None:
    """Raises RuntimeUnavailableError without Leaflet: to be called before long work."""
    if not leaflet_there():
        raise RuntimeUnavailableError(LEAFLET_MISSING)


def leaflet_css() -> str:
    """Leaflet's style with its pictures inside."""

    def inside(found: re.Match[str]) -> str:
        data = base64.b64encode((_leaflet() / 'images' / found[1]).read_bytes()).decode()
        return f'url(data:image/png;base64,{data})'

    return re.sub(r'url\(images/([\w.-]+\.png)\)', inside, _leaflet_file('leaflet.css'))


@cache
def asset(name: str) -> str:
    """The text of a file of `assets/`."""
    return (files('justzoom_ros.report') / 'assets' / name).read_text(encoding='utf-8')


def _program(live: bool) -> str:
    names = (*SCRIPTS, 'live.js') if live else SCRIPTS
    return "(() => {\n'use strict';\n" + '\n'.join(asset(name) for name in names) + '\n})();'


def _footer(page: Page) -> str:
    credit = f'Imagery: {page.map.attribution}. ' if page.map and page.map.attribution else ''
    ending = 'this page only shows' if page.live else 'everything is inside this file'
    return f'{credit}Made by justzoom_ros {__version__}; {ending}.'


def _leaflet() -> Path:
    """The folder of Leaflet's files."""
    require_leaflet()
    return Path(str(files('js_lib_leaflet')), 'static', 'js_lib_leaflet')


def _leaflet_file(name: str) -> str:
    return (_leaflet() / name).read_text(encoding='utf-8')


def _script_text(text: str) -> str:
    """Text that no HTML parser ends early. `</` only occurs in strings, which say the same."""
    text = re.sub(r'//# sourceMappingURL=\S+', '', text)
    return text.replace('</', '<\\/').replace('<!--', '<\\!--')
