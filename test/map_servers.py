"""Servers of imagery on loopback: tiles, WMS, WMTS, rasters in parts, STAC; in good health or not.

What they show is one raster file, warped for each request.
"""

import io
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import cv2
import numpy as np
import rasterio
from imagery import CENTER, UTM, grid_round, texture, write_raster
from PIL import Image
from rasterio.enums import Resampling
from rasterio.shutil import copy as raster_copy
from rasterio.transform import from_bounds
from rasterio.warp import reproject

from justzoom_ros import Region, SatelliteMap
from justzoom_ros.maps.servers.options import ServerOptions
from justzoom_ros.maps.source import SourceOptions, open_source

REGION = Region(*CENTER, 128.0, grid=4, depth=2)
CREDIT = 'Test survey, CC0'
HALF_M = 20037508.342789244
PAGE = b'<html><body>Please log in to see this beautiful imagery.</body></html>'


def tile_bounds(z, x, y):
    """Bounds in EPSG:3857 of an XYZ tile."""
    side = 2 * HALF_M / 2**z
    return x * side - HALF_M, HALF_M - (y + 1) * side, (x + 1) * side - HALF_M, HALF_M - y * side


def encode(rgba, format):
    """Bytes of a picture; JPEG without alpha."""
    image = Image.fromarray(rgba).convert('RGB' if format == 'jpeg' else 'RGBA')
    buffer = io.BytesIO()
    image.save(buffer, format, **({'quality': 95} if format == 'jpeg' else {}))
    return buffer.getvalue()


@cache
def shown(raster):
    """RGBA (4, h, w), transform and CRS of a file."""
    with rasterio.open(raster) as file:
        opaque = np.full((1, *file.shape), 255, np.uint8)
        return np.concatenate([file.read()[:3], opaque]), file.transform, file.crs


@cache
def picture(raster, crs, bounds, width, height, format):
    """As `MapServer.picture` says; kept, for many tests ask for the same."""
    pixels, transform, source_crs = shown(raster)
    result = np.zeros((4, height, width), np.uint8)
    reproject(
        pixels,
        result,
        src_transform=transform,
        src_crs=source_crs,
        dst_transform=from_bounds(*bounds, width, height),
        dst_crs=crs,
        src_alpha=4,
        dst_alpha=4,
        resampling=Resampling.bilinear,
    )
    return encode(result.transpose(1, 2, 0), format), result[3].any()


class MapServer:
    """One server; `requests` are (method, path, headers) of all that it was asked.

    `ill` may be set to a function (path, times asked) -> answer or None, to answer otherwise.
    """

    def __init__(self, raster):
        self.raster = Path(raster)
        self.requests, self.ill, self.max_zoom = [], None, 22
        self.times, self.open, self.most_open = {}, 0, 0
        self._lock = threading.Lock()
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), self._handler())
        self.server.daemon_threads = True
        self.url = f'http://127.0.0.1:{self.server.server_port}'

    def _handler(outer):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                with outer._lock:
                    outer.requests.append((self.command, self.path, dict(self.headers)))
                    outer.times[self.path] = outer.times.get(self.path, 0) + 1
                    outer.open += 1
                    outer.most_open = max(outer.most_open, outer.open)
                try:
                    answer = outer.answer(self.path, self.headers)
                finally:  # before who asked can have it, and ask again
                    with outer._lock:
                        outer.open -= 1
                try:
                    status, kind, body, extra = answer
                    self.send_response(status)
                    self.send_header('Content-Type', kind)
                    self.send_header('Content-Length', str(len(body)))
                    for name, value in extra.items():
                        self.send_header(name, value)
                    self.end_headers()
                    if self.command != 'HEAD':
                        self.wfile.write(body)
                except OSError:  # who asked has gone
                    self.close_connection = True

        return Handler

    def answer(self, path, headers):
        """(status, type, body, further headers) for a path."""
        found = self.ill(path, self.times[path]) if self.ill else None
        if found is not None:
            return found
        parts = urlsplit(path)
        words = parts.path.strip('/').split('/')
        if words[0] in ('xyz', 'tms', 'zyx'):
            return self.tile(words)
        if words[0] == 'wms':
            return self.wms({k.lower(): v for k, v in parse_qsl(parts.query)})
        if words[0] == 'wmts':
            return self.wmts(words)
        if words[0] == 'files':
            return self.part(Path(self.raster.parent, words[-1]), headers.get('Range'))
        if words[0] == 'stac':
            return ok('application/geo+json', json.dumps(self.item(words[-1])).encode())
        return 404, 'text/html', b'nothing here', {}

    def picture(self, crs, bounds, width, height, format):
        """(a rectangle as a picture of a format, whether anything is seen of it)."""
        return picture(self.raster, crs, tuple(bounds), width, height, format)

    def tile(self, words):
        order, z, a, b = words[0], *words[1:]
        b, _, suffix = b.partition('.')
        z, a, b = int(z), int(a), int(b)
        x, y = (b, a) if order == 'zyx' else (a, b)
        y = 2**z - 1 - y if order == 'tms' else y
        format = {'jpg': 'jpeg', 'jpeg': 'jpeg'}.get(suffix, 'png')
        body, seen = self.picture('EPSG:3857', tile_bounds(z, x, y), 256, 256, format)
        if z > self.max_zoom or not seen:
            return 404, 'text/html', b'no such tile', {}
        return ok(f'image/{format}', body)

    def wms(self, query):
        if query['request'].lower() == 'getcapabilities':
            return ok('text/xml', WMS_CAPABILITIES.replace('URL', self.url).encode())
        if query['layers'] != 'ortho':
            return ok('application/vnd.ogc.se_xml', exception('LayerNotDefined', 'no such layer'))
        crs = query.get('crs') or query.get('srs')
        if crs not in ('EPSG:3857', 'EPSG:32617', 'EPSG:4326', 'CRS:84'):
            return ok(
                'application/vnd.ogc.se_xml', exception('InvalidSRS', f'{crs} is not offered')
            )
        box = [float(v) for v in query['bbox'].split(',')]
        if query['version'] >= '1.3' and crs == 'EPSG:4326':  # latitude first
            box = [box[1], box[0], box[3], box[2]]
        crs = 'OGC:CRS84' if crs in ('EPSG:4326', 'CRS:84') else crs
        format, size_px = (
            query['format'].split('/')[1],
            (int(query['width']), int(query['height'])),
        )
        return ok(query['format'], self.picture(crs, box, *size_px, format)[0])

    def wmts(self, words):
        if words[-1] == 'WMTSCapabilities.xml':
            return ok('text/xml', wmts_capabilities(self.url, ['ortho']).encode())
        if words[-1] == 'two.xml':
            return ok('text/xml', wmts_capabilities(self.url, ['ortho', 'roads']).encode())
        if words[-1] == 'utm.xml':
            return ok('text/xml', wmts_capabilities(self.url, ['utm'], UTM_SET).encode())
        if words[1] == 'utm':
            return self.utm_tile(int(words[2]), int(words[3]), int(words[4].partition('.')[0]))
        return self.tile(['zyx', *words[-3:]])

    def utm_tile(self, z, row, column):
        """A tile of the tile matrix set in UTM."""
        side = UTM_SET.side_m / 2**z
        left, top = UTM_SET.left + column * side, UTM_SET.top - row * side
        bounds = left, top - side, left + side, top
        return ok('image/png', self.picture(UTM, bounds, 256, 256, 'png')[0])

    def part(self, path, wanted):
        """A file, or the bytes of it that a Range header asks for."""
        if not path.is_file():
            return 404, 'text/html', b'no such file', {}
        content = path.read_bytes()
        if not wanted:
            return ok('image/tiff', content, {'Accept-Ranges': 'bytes'})
        first, _, last = wanted.removeprefix('bytes=').partition('-')
        last = min(int(last or len(content) - 1), len(content) - 1)
        where = {'Content-Range': f'bytes {first}-{last}/{len(content)}'}
        return 206, 'image/tiff', content[int(first) : last + 1], where

    def item(self, name):
        if name == 'collection.json':
            return {'type': 'Collection', 'id': 'naip'}
        tif = 'image/tiff; application=geotiff; profile=cloud-optimized'
        link = f'../files/{self.raster.name}?sig=signature-9876'
        assets = {'thumbnail': {'href': 'a.png', 'type': 'image/png'}}
        key = 'visual' if name == 'visual.json' else 'ortho'
        assets[key] = {'href': link, 'type': tif}
        return {'type': 'Feature', 'stac_version': '1.0.0', 'assets': assets}


def ok(kind, body, extra=None):
    return 200, kind, body, extra or {}


def exception(code, text):
    return (
        '<?xml version="1.0"?><ServiceExceptionReport version="1.1.1">'
        f'<ServiceException code="{code}">{text}</ServiceException></ServiceExceptionReport>'
    ).encode()


WMS_CAPABILITIES = """<?xml version="1.0"?>
<WMT_MS_Capabilities version="1.1.1"><Service><Name>OGC:WMS</Name></Service><Capability><Request>
<GetMap><Format>image/png</Format><Format>image/jpeg</Format><DCPType><HTTP><Get><OnlineResource
xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="URL/wms?"/></Get></HTTP></DCPType></GetMap>
</Request><Layer><Title>all</Title>
<Layer><Name>ortho</Name><Title>Ortho</Title><SRS>EPSG:4326</SRS>
<LatLonBoundingBox minx="-84" miny="40" maxx="-82" maxy="42"/></Layer>
<Layer><Name>roads</Name><Title>Roads</Title><SRS>EPSG:4326</SRS>
<LatLonBoundingBox minx="-84" miny="40" maxx="-82" maxy="42"/></Layer>
</Layer></Capability></WMT_MS_Capabilities>"""

OGC_PIXEL_M = 0.28e-3
"""Side of a pixel by which WMTS turns metres per pixel into a scale."""


@dataclass(frozen=True)
class MatrixSet:
    """Where the tiles of a WMTS lie: those of zoom z are 2^z times smaller than that of zoom 0."""

    code: int
    left: float
    top: float
    side_m: float
    zooms: int


MERCATOR_SET = MatrixSet(3857, -HALF_M, HALF_M, 2 * HALF_M, 21)
UTM_SET = MatrixSet(32617, 300_000.0, 4_560_000.0, 65_536.0, 11)


def wmts_capabilities(url, layers, tiles=MERCATOR_SET):
    """Capabilities with one tile matrix set."""
    matrices = ''.join(
        f'<TileMatrix><ows:Identifier>{z}</ows:Identifier>'
        f'<ScaleDenominator>{tiles.side_m / 256 / 2**z / OGC_PIXEL_M!r}</ScaleDenominator>'
        f'<TopLeftCorner>{tiles.left!r} {tiles.top!r}</TopLeftCorner><TileWidth>256</TileWidth>'
        f'<TileHeight>256</TileHeight><MatrixWidth>{2**z}</MatrixWidth>'
        f'<MatrixHeight>{2**z}</MatrixHeight></TileMatrix>'
        for z in range(tiles.zooms)
    )
    described = ''.join(
        f'<Layer><ows:Title>{name}</ows:Title><ows:WGS84BoundingBox><ows:LowerCorner>-83.21 41.02'
        '</ows:LowerCorner><ows:UpperCorner>-83.19 41.04</ows:UpperCorner></ows:WGS84BoundingBox>'
        f'<ows:Identifier>{name}</ows:Identifier><Style isDefault="true"><ows:Identifier>default'
        '</ows:Identifier></Style><Format>image/png</Format><TileMatrixSetLink><TileMatrixSet>PM'
        '</TileMatrixSet></TileMatrixSetLink><ResourceURL format="image/png" resourceType="tile" '
        f'template="{url}/wmts/{name}/{{TileMatrix}}/{{TileRow}}/{{TileCol}}.png"/></Layer>'
        for name in layers
    )
    return (
        '<?xml version="1.0"?><Capabilities xmlns="http://www.opengis.net/wmts/1.0" '
        'xmlns:ows="http://www.opengis.net/ows/1.1" version="1.0.0"><Contents>'
        f'{described}<TileMatrixSet><ows:Identifier>PM</ows:Identifier><ows:SupportedCRS>'
        f'urn:ogc:def:crs:EPSG::{tiles.code}</ows:SupportedCRS>{matrices}</TileMatrixSet></Contents>'
        '</Capabilities>'
    )


def slowly(seconds):
    """An illness: each answer takes its time."""

    def ill(path, times):
        time.sleep(seconds)

    return ill


@contextmanager
def serving(raster):
    """A running `MapServer` of a raster file."""
    server = MapServer(raster)
    threading.Thread(target=server.server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.server.shutdown()
        server.server.server_close()


# --- maps of them ------------------------------------------------------------------------------


def smooth(seed=0):
    """uint8 (3, 800, 800) without detail finer than the pixels of any of the tests."""
    bands = [cv2.GaussianBlur(band, (0, 0), 4) for band in texture(seed=seed)]
    return np.stack(bands)


def write_ortho(folder):
    """A cloud-optimized GeoTIFF of that, 400 m along a side."""
    plain = write_raster(folder / 'plain.tif', smooth(), grid_round(CENTER))
    raster_copy(plain, folder / 'ortho.tif', driver='COG', blocksize=128)
    return folder / 'ortho.tif'


def build(source, tmp_path, out='map', region=REGION, **options):
    server = {'cache': tmp_path / 'cache', 'retry_delay_s': 0.01, 'retries': 3}
    asked = {k: options.pop(k) for k in list(options) if hasattr(ServerOptions, k)
             or k in ('say', 'cache')}  # fmt: skip
    return SatelliteMap.build(
        source, region, tmp_path / out, crop_px=24, attribution=CREDIT,
        server=ServerOptions(**server | asked), **options,
    )  # fmt: skip


KINDS = {
    'tiles': '{url}/xyz/{{z}}/{{x}}/{{y}}.png',
    'tiles, jpeg': '{url}/xyz/{{z}}/{{x}}/{{y}}.jpg',
    'tiles from the south': '{url}/tms/{{z}}/{{x}}/{{-y}}.png',
    'tiles, row first': '{url}/zyx/{{z}}/{{y}}/{{x}}.png',
    'tiles of two hosts': 'http://{{switch:127.0.0.1,localhost}}:{port}/xyz/{{z}}/{{x}}/{{y}}.png',
    'WMTS template': '{url}/zyx/{{TileMatrix}}/{{TileRow}}/{{TileCol}}.png',
    'WMS': '{url}/wms?layers=ortho',
    'WMS in UTM': '{url}/wms?version=1.3.0&layers=ortho&crs=EPSG:32617&format=image/png',
    'WMS in degrees': '{url}/wms?version=1.3.0&layers=ortho&crs=EPSG:4326&format=image/png',
    'WMS in degrees, old': 'WMS:{url}/wms?layers=ortho&srs=EPSG:4326&format=image/png',
    'WMTS': '{url}/wmts/WMTSCapabilities.xml',
    'WMTS in UTM': '{url}/wmts/utm.xml?service=WMTS',
    'WMTS, one of two layers': 'WMTS:{url}/wmts/two.xml,layer=ortho',
    'COG': '{url}/files/ortho.tif',
    'COG, as GDAL names it': '/vsicurl/{url}/files/ortho.tif',
    'STAC item': '{url}/stac/visual.json',
}


def address(server, kind):
    return KINDS[kind].format(url=server.url, port=server.url.rsplit(':', 1)[1])


def open_server(text, tmp_path, **options):
    server = ServerOptions(cache=tmp_path / 'cache', retries=0, **options)
    return open_source(text, SourceOptions(server=server))
