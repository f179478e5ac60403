"""The address of a server's imagery, and which parts of it nobody else may see.

Credentials come from the environment, named in the address as `${NAME}`, or from a file of
headers. Whatever is shown, logged or saved is the address as it was given, with the values of
unknown query parameters and of `user:password@` hidden.
"""

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from justzoom_ros.errors import ConfigError

SCHEMES = ('http', 'https', 'ftp', 's3', 'gs', 'az', 'swift', 'oss', 'wms', 'wmts', 'stac')
REMOTE = re.compile(
    rf'(?:(?:{"|".join(SCHEMES)}):|/vsi(?:curl|s3|gs|az|adls|oss|swift)(?:_streaming)?[/?])',
    re.IGNORECASE,
)
VARIABLE = re.compile(r'\$\{(\w+)\}')
HARMLESS = {
    'bbox', 'crs', 'exceptions', 'format', 'height', 'layer', 'layers', 'map', 'request',
    'service', 'srs', 'style', 'styles', 'tilematrixset', 'time', 'transparent', 'version',
    'width', 'tilematrix', 'tilerow', 'tilecol', 'x', 'y', 'z', 'bands', 'assets', 'collection',
}  # fmt: skip
"""Query parameters whose values are no credentials."""

HIDDEN = '***'
SHORTEST_SECRET = 4
"""Shorter values are not looked for in messages: they would hide parts of words."""

GDAL_LOGGERS = ('rasterio._env', 'rasterio._err', 'rasterio._io', 'rasterio._base')


@dataclass(frozen=True)
class Address:
    """An address as it was given, and as it is asked."""

    text: str = field(repr=False)
    """As it was given, `${NAME}` as it is."""

    url: str = field(repr=False)
    """With the values of the variables: secret."""

    secrets: tuple[str, ...] = field(repr=False)
    """What must not appear anywhere."""

    @property
    def shown(self) -> str:
        """What may be printed and saved."""
        return hide(self.text)

    @property
    def key(self) -> str:
        """A name for the cache, the same whatever the values of the variables are."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def scrub(self, text: str) -> str:
        """A text of another program without secrets, addresses in it hidden as our own are."""
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        return re.sub(r'https?://[^\s<>"\')]+', lambda found: hide(found[0]), text)


def is_remote(name: str) -> bool:
    """Whether a name is the address of a server."""
    return bool(REMOTE.match(name))


def read_address(text: str, header_file: Path | None = None) -> Address:
    """The `Address` that a text means. Raises ConfigError where a variable of it is not set or
    the file of headers cannot be read."""
    values = {name: _variable(name) for name in VARIABLE.findall(text)}
    url = VARIABLE.sub(lambda found: values[found[1]], text)
    secrets = [*values.values(), *_hidden_values(url), *_header_values(header_file)]
    long = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
    return Address(text, url, tuple(sorted(long, key=len, reverse=True)))


def hide(url: str) -> str:
    """An address with the password and the values of unknown parameters hidden."""
    url = re.sub(r'(?<=//)[^/?#@\s]*@', f'{HIDDEN}@', url, count=1)
    return re.sub(r'([?&;])([^=&;#\s]+)=([^&;#\s]*)', _hide_value, url)


def _hide_value(found: re.Match[str]) -> str:
    mark, name, value = found.groups()
    plain = name.lower() in HARMLESS or VARIABLE.fullmatch(value) or not value
    return f'{mark}{name}={value if plain else HIDDEN}'


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ConfigError(
            f'the address names ${{{name}}} and there is no such environment variable; set it, '
            f'for instance with `export {name}=...`'
        )
    return value


def _hidden_values(url: str) -> Iterator[str]:
    """Passwords and unknown values of an address."""
    parts = urlsplit(url.split(':', 1)[1] if re.match(r'(?i)(wms|wmts|stac):', url) else url)
    if '@' in parts.netloc:
        yield from parts.netloc.rpartition('@')[0].split(':', 1)
    for pair in re.split('[&;]', parts.query):
        name, _, value = pair.partition('=')
        if name.lower() not in HARMLESS and '{' not in value:
            yield value


def _header_values(path: Path | None) -> Iterator[str]:
    """The values of a file of headers, and the words of them."""
    if path is None:
        return
    for name, value in read_headers(path):
        yield value
        # "Bearer ...", "Basic ...": the second word is the secret one. Plain ones are no secret.
        if name.lower() not in ('user-agent', 'accept', 'referer'):
            yield from value.split()[1:]


def read_headers(path: Path) -> list[tuple[str, str]]:
    """(name, value) of each line of a file of headers. Raises ConfigError where it cannot be
    read or has other lines; the message shows none of its content."""
    try:
        lines = Path(path).read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or 'it is no text'
        raise ConfigError(f'the file of headers {path} cannot be read: {reason}') from None
    found = []
    for number, line in enumerate(lines, 1):
        name, colon, value = line.partition(':')
        if not line.strip():
            continue
        if not (colon and re.fullmatch(r'[\w-]+', name.strip()) and value.strip()):
            raise ConfigError(f'{path}: line {number} is no header; it must be `Name: value`')
        found.append((name.strip(), value.strip()))
    return found


class _Scrubber(logging.Filter):
    def __init__(self, scrub: Callable[[str], str], tell: Callable[[str], None]) -> None:
        super().__init__()
        self._scrub, self._tell = scrub, tell

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._scrub(record.getMessage()), ()
        record.exc_info = record.exc_text = None
        if retries := 'Retrying again' in record.msg:
            self._tell(record.msg.removeprefix('CPLE_AppDefined in '))
        return not retries


@contextmanager
def scrubbed_logs(scrub: Callable[[str], str], tell: Callable[[str], None]) -> Iterator[None]:
    """What GDAL logs through rasterio within the block goes through `scrub`; that it asks again
    is told instead."""
    scrubber = _Scrubber(scrub, tell)
    loggers = [logging.getLogger(name) for name in GDAL_LOGGERS]
    for logger in loggers:
        logger.addFilter(scrubber)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(scrubber)
