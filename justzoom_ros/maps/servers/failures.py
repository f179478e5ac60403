"""What went wrong with a server, from what GDAL says of it."""

import re
from dataclasses import dataclass

STATUS = re.compile(r'(?:HTTP status code|HTTP error code|response[ _]code)[ :]+(\d{3})')
ADVICE = {
    400: 'it does not understand the request; check layer, format and projection',
    401: 'it wants credentials',
    403: 'it does not let you; it wants credentials, or forbids this use',
    404: 'there is nothing at this address',
    407: 'a proxy wants credentials',
    410: 'there is nothing at this address any more',
    429: 'it is asked too often; wait, or use fewer --connections',
}
CREDENTIALS = (
    '; keep the key in an environment variable and name it in the address, as in '
    "'...?key=${MY_KEY}', or give --header-file"
)
EMPTY = (204, 404)
"""What a tile server answers where it has no imagery."""

NO_PICTURE = (
    'unknown exception',
    'readblockfromfile',
    'not recognized as',
    'missing capabilities',
)
BUSY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Failure:
    """Why a unit could not be read."""

    reason: str
    """What to tell, without the address."""

    status: int | None = None
    """The status of HTTP, None where there was no answer."""

    is_temporary: bool = False
    """Whether it is worth asking again."""

    @property
    def is_empty(self) -> bool:
        """Whether a tile server says so that there is no imagery."""
        return self.status in EMPTY


def words_of(error: BaseException) -> str:
    """All that GDAL said: one error may be the end of a chain of them."""
    words = [str(error)]
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
        words.append(str(error))
    return '\n'.join(dict.fromkeys(words))


def understand(text: str, timeout_s: float) -> Failure:
    """The `Failure` that GDAL tells of."""
    found = STATUS.search(text)
    status = int(found[1]) if found else None
    if 'redirects followed' in text:
        return Failure('redirects in a circle; check the address', status)
    if status and status >= 400:
        advice = ADVICE.get(status, 'it has a problem of its own' if status >= 500 else 'refused')
        advice += CREDENTIALS if status in (401, 403) else ''
        return Failure(f'answered {status}: {advice}', status, status in BUSY)
    return _by_words(text, status, timeout_s)


def _by_words(text: str, status: int | None, timeout_s: float) -> Failure:
    """Where no status of HTTP says it, GDAL's and curl's words do."""
    low = text.lower()
    if 'could not resolve' in low:
        return Failure('has a name that cannot be resolved; check it, and the network')
    if 'timed out' in low or 'timeout' in low:
        return Failure(f'did not answer within {timeout_s:g} s', is_temporary=True)
    if 'refused' in low or 'failed to connect' in low or "couldn't connect" in low:
        return Failure('cannot be reached; check the address and the network', is_temporary=True)
    if 'certificate' in low or 'ssl' in low:
        return Failure('has a certificate that cannot be verified')
    if found := re.search(r'incorrect size (\d+) x \d+', low):
        return Failure(f'has tiles of {found[1]} pixels; give --tile-px {found[1]}')
    if found := re.search(r'server returned exception[^:]*: (.+)', text, re.DOTALL):
        return Failure(f'refuses the request: {" ".join(found[1].split())[:300]}')
    if status == 200:
        return Failure('answered with nothing', is_temporary=True)
    if any(word in low for word in NO_PICTURE):
        return Failure(
            'did not answer with a picture but with a page or a part of one; open the address in '
            'a browser to see what it says',
            is_temporary='readblockfromfile' in low,
        )
    return Failure(' '.join(text.split())[:300] or 'does not answer', is_temporary=True)
