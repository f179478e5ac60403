"""What GDAL is told of each kind of server: a name, or a description of the service, to open.

GDAL's drivers WMS (whose TMS part reads tiles), WMTS and /vsicurl/ do the asking:
https://gdal.org/en/stable/drivers/raster/wms.html, .../wmts.html
"""

import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit, urlunsplit
from xml.sax.saxutils import escape

from pyproj import CRS
from pyproj.exceptions import CRSError

from justzoom_ros.errors import ConfigError
from justzoom_ros.maps.servers.address import Address, hide
from justzoom_ros.maps.servers.options import ServerOptions
from justzoom_ros.version import __version__

USER_AGENT = f'justzoom_ros/{__version__} (map build)'
MERCATOR_HALF_M = 20_037_508.342789244
DEFAULT_MAX_ZOOM = 19
WMS_LEVELS = 30
"""A WMS draws at any scale: it is asked in a grid of 2^30 pixels, of which each level has half as
many as the one before; 4 cm at the equator."""

WMS_TILE_PX = 512
PLACEHOLDER = re.compile(r'(?<!\$)\{([^{}]*)\}')
NAMES = {'TileMatrix': 'z', 'TileRow': 'y', 'TileCol': 'x', 'zoom': 'z'}
"""What the templates of WMTS and others call the three numbers."""


class Kind(Enum):
    """How a server is asked."""

    TILES = 'tiles'
    WMS = 'WMS'
    WMTS = 'WMTS'
    STAC = 'STAC item'
    RASTER = 'raster'


@dataclass(frozen=True)
class Service:
    """What to open, and what is known of it beforehand."""

    kind: Kind
    """How it is asked."""

    name: str
    """What GDAL opens: secret, since it holds the whole address."""

    unit_px: int | None
    """Pixels along a side of what is asked for at a time; None: as `Grid` finds best."""

    alpha_band: int | None = None
    """The band that is alpha where GDAL does not call it so."""

    @property
    def is_tiled(self) -> bool:
        """Whether a place without imagery is a tile that is not there."""
        return self.kind in (Kind.TILES, Kind.WMTS)


def kind_of(text: str) -> Kind:
    """The kind of server that an address means."""
    begin = text.split(':', 1)[0].upper()
    if begin in ('WMS', 'WMTS', 'STAC'):
        return {'WMS': Kind.WMS, 'WMTS': Kind.WMTS, 'STAC': Kind.STAC}[begin]
    if PLACEHOLDER.search(text):
        return Kind.TILES
    parts = urlsplit(text)
    query = {name.lower(): value for name, value in parse_qsl(parts.query)}
    service = query.get('service', '').upper()
    if service == 'WMTS' or 'wmtscapabilities' in parts.path.lower():
        return Kind.WMTS
    last = parts.path.lower().rstrip('/').rpartition('/')[2]
    if service == 'WMS' or 'layers' in query or last in ('wms', 'wmsserver'):
        return Kind.WMS
    if parts.path.lower().endswith(('.json', '.geojson')) or '/items/' in parts.path:
        return Kind.STAC
    return Kind.RASTER


def describe(address: Address, options: ServerOptions, connection: int = 0) -> Service:
    """The `Service` at an address of tiles, of a WMS or of a raster. `connection` chooses among
    the hosts of {switch:a,b,c}. Raises ConfigError for an address that is none of its kind."""
    kind = kind_of(address.text)
    if kind == Kind.TILES:
        return _tiles(address, options, connection)
    if kind == Kind.WMS:
        return _wms(address, options)
    return Service(kind, address.url, None)


# --- tiles -------------------------------------------------------------------------------------


def _tiles(address: Address, options: ServerOptions, connection: int) -> Service:
    url, south = _tile_template(address, connection)
    levels = DEFAULT_MAX_ZOOM if options.max_zoom is None else options.max_zoom
    half, px = MERCATOR_HALF_M, options.tile_px
    window = _window(-half, half, half, -half) + (
        f'<TileLevel>{levels}</TileLevel><TileCountX>1</TileCountX><TileCountY>1</TileCountY>'
        f'<YOrigin>{"bottom" if south else "top"}</YOrigin>'
    )
    service = f'<Service name="TMS"><ServerUrl>{escape(url)}</ServerUrl></Service>'
    return Service(Kind.TILES, _xml(service, window, 'EPSG:3857', px, options), px, 4)


def _tile_template(address: Address, connection: int) -> tuple[str, bool]:
    """The template as GDAL writes it, and whether rows are counted from the south."""
    found: set[str] = set()

    def fill(match: re.Match[str]) -> str:
        name = match[1].strip()
        if name.lower().startswith('switch:'):
            hosts = match[1].split(':', 1)[1].split(',')
            return hosts[connection % len(hosts)].strip()
        name = NAMES.get(name, name.lower())
        if name not in ('z', 'x', 'y', '-y'):
            raise ConfigError(
                f'{hide(address.text)} has {{{match[1]}}}, which is not known; a template has '
                '{z}, {x} and {y}, or {-y} for rows counted from the south, and may have '
                '{switch:a,b,c} for several hosts'
            )
        found.add(name)
        return '${' + name.strip('-') + '}'

    url = PLACEHOLDER.sub(fill, address.url)
    if not {'z', 'x'} < found or len(found) != 3:
        raise ConfigError(
            f'{hide(address.text)} must have each of {{z}}, {{x}} and {{y}} (or {{-y}}) as the '
            'address of a tile server'
        )
    return url, '-y' in found


# --- WMS ---------------------------------------------------------------------------------------


def _wms(address: Address, options: ServerOptions) -> Service:
    base, query = split_wms(address.url)
    if not query.get('layers'):
        name = f'WMS:{base}{urlencode({"service": "WMS", "request": "GetCapabilities"})}'
        return Service(Kind.WMS, name, None)  # GDAL answers with the layers
    version = query.get('version', '1.1.1')
    crs = query.get('crs') or query.get('srs') or 'EPSG:3857'
    word = 'CRS' if version >= '1.3' else 'SRS'
    transparent = query.get('transparent', 'false').upper()
    service = (
        f'<Service name="WMS"><Version>{escape(version)}</Version>'
        f'<ServerUrl>{escape(base)}</ServerUrl><{word}>{escape(crs)}</{word}>'
        f'<Layers>{escape(query["layers"])}</Layers><Styles>{escape(query.get("styles", ""))}'
        f'</Styles><ImageFormat>{escape(query.get("format", "image/jpeg"))}</ImageFormat>'
        f'<Transparent>{escape(transparent)}</Transparent>'
        f'<BBoxOrder>{_order_of_box(version, crs, address)}</BBoxOrder></Service>'
    )
    xml = _xml(service, _wms_window(crs), crs, WMS_TILE_PX, options)
    return Service(Kind.WMS, xml, WMS_TILE_PX, 4)


def _order_of_box(version: str, crs: str, address: Address) -> str:
    """From version 1.3 on, a box is written in the order of the axes of its projection."""
    try:
        first = CRS.from_user_input(
            crs.upper().replace('OGC:', '').replace('CRS:84', 'OGC:CRS84')
        ).axis_info[0]
    except (CRSError, IndexError):
        raise ConfigError(
            f'{address.shown} asks for the projection {crs}, which is none'
        ) from None
    return 'yxYX' if version >= '1.3' and first.direction == 'north' else 'xyXY'


def split_wms(url: str) -> tuple[str, dict[str, str]]:
    """The address of a WMS up to its last ? or &, with parameters of its own, and those of WMS
    in lower case."""
    parts = urlsplit(url[4:] if url[:4].upper() == 'WMS:' else url)
    known = {'service', 'request', 'version', 'layers', 'styles', 'crs', 'srs', 'format',
             'transparent', 'bbox', 'width', 'height', 'exceptions'}  # fmt: skip
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    query = {name.lower(): value for name, value in pairs if name.lower() in known}
    own = urlencode([(name, value) for name, value in pairs if name.lower() not in known])
    base = urlunsplit((parts.scheme, parts.netloc, parts.path, '', ''))
    return f'{base}?{own}&' if own else f'{base}?', query


def _wms_window(crs: str) -> str:
    """A square from the north-west corner of what any projection counts: degrees or metres."""
    if crs.upper() in ('EPSG:4326', 'CRS:84', 'OGC:CRS84', 'EPSG:4258', 'EPSG:4269'):
        window = _window(-180.0, 90.0, 180.0, -270.0)
    else:
        half = MERCATOR_HALF_M
        window = _window(-half, half, half, -half)
    return window + f'<SizeX>{2**WMS_LEVELS}</SizeX><SizeY>{2**WMS_LEVELS}</SizeY>'


def layer_names(subdatasets: list[str]) -> list[str]:
    """The layers that GDAL tells of, each once; of a WMTS with what else has to be chosen."""
    found = [re.search(r'(?i)(?:[?&]layers=([^&,]+)|,layer=(.+))', name) for name in subdatasets]
    return list(dict.fromkeys(unquote_plus(match[1] or match[2]) for match in found if match))


# --- WMTS --------------------------------------------------------------------------------------


def split_wmts(url: str) -> tuple[str, str]:
    """The address of the capabilities of a WMTS, and what follows it: ',layer=...' and others."""
    url = url[5:] if url[:5].upper() == 'WMTS:' else url
    match = re.search(r'(?i),(?:layer|tilematrixset|style)=', url)
    base, choice = (url[: match.start()], url[match.start() :]) if match else (url, '')
    query = {name.lower() for name, _ in parse_qsl(urlsplit(base).query)}
    if 'service' in query and 'request' not in query:
        base += '&request=GetCapabilities'
    return base, choice


# --- XML ---------------------------------------------------------------------------------------


def _window(left: float, top: float, right: float, bottom: float) -> str:
    return (
        f'<UpperLeftX>{left!r}</UpperLeftX><UpperLeftY>{top!r}</UpperLeftY>'
        f'<LowerRightX>{right!r}</LowerRightX><LowerRightY>{bottom!r}</LowerRightY>'
    )


def _xml(service: str, window: str, crs: str, tile_px: int, options: ServerOptions) -> str:
    """A description for GDAL's WMS driver. Four bands: it makes alpha of what has none."""
    return (
        f'<GDAL_WMS>{service}<DataWindow>{window}</DataWindow>'
        f'<Projection>{escape(crs)}</Projection>'
        f'<BlockSizeX>{tile_px}</BlockSizeX><BlockSizeY>{tile_px}</BlockSizeY>'
        '<BandsCount>4</BandsCount><MaxConnections>1</MaxConnections><Cache/>'
        f'<Timeout>{max(1, round(options.timeout_s))}</Timeout>'
        f'<UserAgent>{escape(USER_AGENT)}</UserAgent></GDAL_WMS>'
    )
