"""Small documents of servers, such as an item of a catalogue or the capabilities of a service."""

import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from justzoom_ros.errors import MapError
from justzoom_ros.maps.servers.address import Address, read_headers
from justzoom_ros.maps.servers.failures import understand
from justzoom_ros.maps.servers.options import ServerOptions
from justzoom_ros.maps.servers.services import USER_AGENT

MAX_BYTES = 50_000_000


def read_document(address: Address, url: str, options: ServerOptions) -> bytes:
    """What is at a `url` that an address means, or in a file of this machine; a busy server is
    asked again. Raises MapError."""
    if not urlsplit(url).scheme:
        try:
            return Path(url).read_bytes()
        except OSError as error:
            raise MapError(f'{url} cannot be read: {error.strerror}') from None
    for attempt in range(options.retries + 1):
        try:
            return _ask(url, options)
        except (OSError, ValueError) as error:
            failure = understand(address.scrub(_words(error)), options.timeout_s)
        if not failure.is_temporary or attempt == options.retries:
            break
        pause_s = options.retry_delay_s * 2**attempt
        options.tell(f'{address.shown} {failure.reason}; asking again in {pause_s:g} s')
        time.sleep(pause_s)
    raise MapError(f'{address.shown} {failure.reason}')


def _ask(url: str, options: ServerOptions) -> bytes:
    headers = {'User-Agent': USER_AGENT, 'Accept': '*/*'}
    if options.header_file is not None:
        headers |= dict(read_headers(options.header_file))
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=options.timeout_s) as answer:
        return answer.read(MAX_BYTES)


def _words(error: Exception) -> str:
    """What went wrong, in the words that GDAL has for it."""
    if isinstance(error, urllib.error.HTTPError):
        loop = 'redirects followed' if 'infinite loop' in str(error.msg) else ''
        return f'HTTP status code: {error.code} {loop}'
    if 'Name or service not known' in str(error) or 'name resolution' in str(error):
        return 'Could not resolve host'
    return str(error)
