"""How a folder of tiles is laid out: which tile lies where on the earth.

Known are `{z}/{x}/{y}.png` in web Mercator with rows that run south (XYZ) or north (TMS, as
gdal2tiles writes it), `{z}/{y}/{x}.png` (ZYX, as ArcGIS and WMTS name them), and tiledwebmaps, the
form of the published dataset, whose `layout.yaml` names the projection, the tiles' size in it and
the path pattern. A tile of zoom z is half as wide as one of zoom z - 1; zooms may be negative.
"""

import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pyproj import CRS
from pyproj.exceptions import CRSError

from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.maps.map_file import one_line

LAYOUT_NAME = 'layout.yaml'
TMS_NAME = 'tilemapresource.xml'
"""Beside tiles in TMS order: what OSGeo's Tile Map Service calls a TileMap."""

TILEJSON_NAMES = ('metadata.json', 'tiles.json', 'tile.json', 'tilejson.json')
"""TileJSON beside tiles; its `scheme` says whether rows run south (xyz) or north (tms)."""

MAX_XML_BYTES = 1_000_000
MERCATOR_HALF_M = 20_037_508.342789244
MERCATOR_NAMES = ('3857', '900913', '41001', '3785', '102100', '102113', 'Mercator')
"""What is in names of web Mercator, of before it had an official one too."""

DEGREE_NAMES = ('4326', 'CRS84', 'WGS 84', 'WGS84')
"""What is in names of latitude and longitude."""


@dataclass(frozen=True)
class TileLayout:
    """Where tiles lie: tile (x, y) of zoom z begins `x * side` east and `y * side` south or north
    of the origin, where `side = tile_side / 2 ** z`."""

    crs: str
    """Their projection, whose units are those of all lengths here."""

    origin_x: float
    """West side of the tiles of x = 0."""

    origin_y: float
    """North side, or south side where rows run northward, of the tiles of y = 0."""

    southward: bool
    """Whether y grows to the south."""

    tile_side: float
    """Side of a tile of zoom 0."""

    tile_px: int | None
    """Pixels along a side of a tile; None: as they come."""

    pattern: str
    """Path of a tile within the folder, with {zoom}, {x}, {y} and {image} to fill in."""


XYZ = TileLayout(
    'EPSG:3857',
    -MERCATOR_HALF_M,
    MERCATOR_HALF_M,
    True,
    2 * MERCATOR_HALF_M,
    None,
    '{zoom}/{x}/{y}.{image}',
)
TMS = replace(XYZ, origin_y=-MERCATOR_HALF_M, southward=False)
ZYX = replace(XYZ, pattern='{zoom}/{y}/{x}.{image}')
TILE_ORDERS = {'xyz': XYZ, 'tms': TMS, 'zyx': ZYX}
"""The orders of tiles in web Mercator, by the names that users give."""


def read_layout(folder: Path, order: str | None = None) -> TileLayout:
    """The `TileLayout` of a folder: that of the `order` (a key of TILE_ORDERS) where one is asked
    for, else what its layout.yaml, tilemapresource.xml or TileJSON says, XYZ without any.

    Raises ConfigError for an unknown order, MapError where such a file is unreadable or asks for
    what is not supported.
    """
    if order is not None:
        if order not in TILE_ORDERS:
            known = ', '.join(TILE_ORDERS)
            raise ConfigError(f'the order of tiles is {order!r}; it must be one of {known}')
        return TILE_ORDERS[order]
    for name, read in ((LAYOUT_NAME, _read_tiledwebmaps), (TMS_NAME, _read_tms)):
        if (folder / name).is_file():
            return read(folder / name)
    for name in TILEJSON_NAMES:
        if (folder / name).is_file():
            return _read_tilejson(folder / name)
    return XYZ


def _read_tms(path: Path) -> TileLayout:
    """The layout that a tilemapresource.xml tells."""
    try:
        text = path.read_bytes()
        if len(text) > MAX_XML_BYTES or b'<!ENTITY' in text:
            raise MapError(f'{path} is no TileMap: it is too large, or defines entities')
        root = ElementTree.fromstring(text)
    except (OSError, ElementTree.ParseError) as error:
        raise MapError(f'{path} cannot be read: {one_line(error)}') from None
    sets = root.find('TileSets')
    profile = '' if sets is None else sets.get('profile', '').removeprefix('global-')
    srs = root.findtext('SRS', '').strip()
    if profile in ('', 'mercator') and _is_named(srs, MERCATOR_NAMES, bare=bool(profile)):
        return TMS
    if profile == 'geodetic' and _is_named(srs, DEGREE_NAMES, bare=True):
        return _geodetic(path, root)
    raise MapError(
        f'{path} has tiles of profile {profile or "none"!r} in {srs or "no SRS"}, which have no '
        'place in a known grid; write a layout.yaml, or build from the raster they were cut from'
    )


def _is_named(srs: str, names: Sequence[str], bare: bool) -> bool:
    """Whether a reference system is one of those; without any name it is where `bare`."""
    return any(name in srs for name in names) if srs else bare


def _geodetic(path: Path, root: ElementTree.Element) -> TileLayout:
    """Tiles in degrees: zoom 0 is one tile of 360 degrees or, as TMS has it, two of 180."""
    try:
        first, form = root.findall('TileSets/TileSet')[0], root.findall('TileFormat')[0]
        unit, order = float(first.attrib['units-per-pixel']), int(first.attrib['order'])
        side = unit * int(form.attrib['width']) * 2.0**order
    except (IndexError, KeyError, ValueError, OverflowError) as error:
        raise MapError(f'{path} lacks the size of its tiles: {one_line(error)}') from None
    side = min((180.0, 360.0), key=lambda known: abs(known - side))
    return replace(TMS, crs='OGC:CRS84', origin_x=-180.0, origin_y=-90.0, tile_side=side)


def _read_tilejson(path: Path) -> TileLayout:
    """XYZ, or TMS where the file says so; it may be anything else that has the same name."""
    try:
        values = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return XYZ
    scheme = values.get('scheme') if isinstance(values, dict) else None
    return TMS if scheme == 'tms' else XYZ


def _read_tiledwebmaps(path: Path) -> TileLayout:
    try:
        values = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MapError(f'{path} cannot be read: {one_line(error)}') from None
    if not isinstance(values, dict):
        raise MapError(f'{path} holds no keys and values; it must be a tiledwebmaps layout')
    try:
        return _layout_from(values)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise MapError(f'{path} is no layout that can be read: {one_line(error)}') from None


def _layout_from(values: Mapping[str, Any]) -> TileLayout:
    pattern = str(values.get('path', '{zoom}/{x}/{y}.jpg'))
    if not all('{' + name + '}' in pattern for name in ('zoom', 'x', 'y')):
        raise ValueError(f'path is {pattern!r}; it must name {{zoom}}, {{x}} and {{y}}')
    if 'preset' in values:
        if values['preset'] != 'XYZ':
            raise ValueError(f'preset is {values["preset"]!r}; only XYZ is known')
        return replace(XYZ, pattern=pattern)
    crs = _crs_of(values.get('crs', 'EPSG:3857'))
    if crs.axis_info[0].direction != 'east':
        raise ValueError(f'crs {values["crs"]!r} counts north before east, which is not supported')
    axes = tuple(values.get('tile_axes', ('east', 'south')))
    if axes not in (('east', 'south'), ('east', 'north')):
        raise ValueError(f'tile_axes are {axes}; only [east, south] and [east, north] are known')
    southward = axes[1] == 'south'
    side, _ = _square('tile_shape_crs', values, (1.0, 1.0))
    origin = [float(v) for v in values.get('origin_crs', (0.0, 0.0))]
    # Rows that run south begin at the far end of the whole extent.
    top = float(values['size_crs'][1]) if southward else 0.0
    tile_px, _ = _square('tile_shape_px', values, (256, 256))
    return TileLayout(
        crs.to_string(), origin[0], origin[1] + top, southward, side, int(tile_px), pattern
    )


def _crs_of(name: Any) -> CRS:
    try:
        return CRS.from_user_input(name)
    except CRSError:
        raise ValueError(
            f"crs is {name!r}, which is not known; most tiles are in 'EPSG:3857'"
        ) from None


def _square(
    name: str, values: Mapping[str, Any], default: tuple[float, float]
) -> tuple[float, float]:
    width, height = (float(v) for v in values.get(name, default))
    if not (width == height and 0 < width < math.inf):
        raise ValueError(f'{name} is {values[name]}; it must be two equal positive numbers')
    return width, height
