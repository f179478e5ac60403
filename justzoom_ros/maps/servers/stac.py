"""The raster that an item of a STAC catalogue points to (https://stacspec.org, Item 1.0)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from justzoom_ros.errors import MapError
from justzoom_ros.maps.servers.address import Address, hide
from justzoom_ros.maps.servers.documents import read_document
from justzoom_ros.maps.servers.options import ServerOptions

REMOTE_SCHEMES = ('http', 'https', 's3', 'gs', 'az')
"""Where the raster of an item on a server may be: not among the files of this machine."""

FAVOURITES = ('visual', 'image', 'rendered_preview')
"""Names that catalogues give to the asset that is a picture in colour."""

RASTER_TYPES = ('image/tiff', 'image/vnd.stac.geotiff', 'image/jp2')


def find_asset(address: Address, options: ServerOptions) -> Address:
    """The address of the raster of a STAC item. Raises MapError where the item cannot be had, is
    none, or does not say which of its assets is meant."""
    base = address.url[5:] if address.url[:5].upper() == 'STAC:' else address.url
    item = _parse(address, read_document(address, base, options))
    href = str(item['assets'][_choose(address, item['assets'], options.asset)].get('href', ''))
    url = urljoin(base, href) if urlsplit(base).scheme else str(Path(base).parent / href)
    if urlsplit(base).scheme and urlsplit(url).scheme not in REMOTE_SCHEMES:
        raise MapError(f'{address.shown} points to {hide(url)}, which is not on a server')
    # What signs an address is in the item, and as secret as what the user gives.
    signed = [pair.partition('=')[2] for pair in urlsplit(url).query.split('&')]
    return replace(address, url=url, secrets=(*address.secrets, *(v for v in signed if v)))


def same_host(item_url: str, asset_url: str) -> bool:
    """Whether what is sent to the server of an item, as a key, may be sent to that of its raster:
    whoever wrote the item chose where it is."""
    one, other = (urlsplit(url.removeprefix('STAC:')) for url in (item_url, asset_url))
    return (one.scheme, one.netloc) == (other.scheme, other.netloc)


def _parse(address: Address, content: bytes) -> dict[str, Any]:
    try:
        item = json.loads(content)
    except (ValueError, RecursionError):
        item = None
    if not isinstance(item, dict) or not isinstance(item.get('assets'), dict):
        kind = item.get('type') if isinstance(item, dict) else None
        what = f'a {kind}' if isinstance(kind, str) else 'no JSON of one'
        raise MapError(f'{address.shown} is not an item of a STAC catalogue but {what}')
    return item


def _choose(address: Address, assets: dict[str, Any], wanted: str | None) -> str:
    """The name of the asset to take."""
    kinds = {name: str(a.get('type', '')) for name, a in assets.items() if isinstance(a, dict)}
    rasters = [name for name, kind in kinds.items() if kind.split(';')[0] in RASTER_TYPES]
    known = [name for name in FAVOURITES if name in kinds]
    if wanted is not None and wanted in kinds:
        return wanted
    if wanted is None and (known or len(rasters) == 1):
        return (known or rasters)[0]
    listed = ', '.join(rasters or kinds) or 'none'
    asked = f'no asset {wanted!r}' if wanted is not None else 'several assets'
    raise MapError(f'{address.shown} has {asked}; choose one with --asset: {listed}')
