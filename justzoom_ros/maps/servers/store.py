"""Units of imagery that were fetched, on disk: a second build needs no server.

Nothing in the folder tells where they came from, and nothing of a key gets there.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from justzoom_ros.files import replacing
from justzoom_ros.maps.servers.grid import Grid, Level, Unit

COLOURS = {
    1: (ColorInterp.gray, ColorInterp.alpha),
    3: (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha),
}
"""What the bands of a unit are, by the number of colours."""

GDAL_TYPES = {
    'uint8': 'Byte', 'int8': 'Int8', 'uint16': 'UInt16', 'int16': 'Int16', 'uint32': 'UInt32',
    'int32': 'Int32', 'float32': 'Float32', 'float64': 'Float64',
}  # fmt: skip


class Store:
    """The folder of one source: its grid, and a file for each unit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, level: Level, unit: Unit) -> Path:
        """Where a unit is kept. An empty one is a file of no bytes."""
        return self._folder_of(level) / f'{unit[0]}_{unit[1]}.tif'

    def _folder_of(self, level: Level) -> Path:
        return self.folder / f'{level.width}x{level.height}'

    def count(self, level: Level) -> int:
        """How many units of a level are kept."""
        folder = self._folder_of(level)
        return len(os.listdir(folder)) if folder.is_dir() else 0

    def has(self, level: Level, unit: Unit) -> bool:
        """Whether a unit was fetched."""
        return self.path(level, unit).exists()

    def is_empty(self, level: Level, unit: Unit) -> bool:
        """Whether a unit that was fetched has no imagery."""
        return self.path(level, unit).stat().st_size == 0

    def keep(self, level: Level, unit: Unit, values: np.ndarray | None) -> int:
        """Keep a unit (colours and alpha, h, w), None for an empty one; returns the bytes that
        it takes. Raises OSError."""
        path = self.path(level, unit)
        with replacing(path) as temporary:
            if values is None:
                temporary.touch()
            else:
                _write_unit(temporary, values)
        return path.stat().st_size

    def read_grid(self) -> Grid | None:
        """The grid that is kept; None without one, or with one of another version."""
        try:
            values = json.loads((self.folder / 'grid.json').read_text())
            levels = tuple(Level(**{**v, 'affine': tuple(v['affine'])}) for v in values['levels'])
            return Grid(**{**values, 'levels': levels, 'bands': tuple(values['bands'])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write_grid(self, grid: Grid) -> None:
        """Keep the grid. Raises OSError."""
        with replacing(self.folder / 'grid.json') as temporary:
            temporary.write_text(json.dumps(asdict(grid)))


def _write_unit(path: Path, values: np.ndarray) -> None:
    count, height, width = values.shape
    profile = {'width': width, 'height': height, 'count': count, 'dtype': values.dtype.name}
    place = rasterio.Affine.translation(1, 1)  # any: its place is told by who joins the units
    with rasterio.open(
        path, 'w', driver='GTiff', compress='deflate', transform=place, **profile
    ) as file:
        file.colorinterp = COLOURS[count - 1]
        file.write(values)


def join_units(path: Path, store: Store, grid: Grid, number: int, units: list[Unit]) -> bool:
    """Write a VRT that joins units of the level of a number to one raster with a place on earth.

    Returns false, and writes nothing, where none of them has imagery.
    """
    level = grid.levels[number]
    full = [unit for unit in units if not store.is_empty(level, unit)]
    if not full:
        return False
    rows, columns = zip(*units, strict=True)
    first = grid.window(number, (min(rows), min(columns)))
    last = grid.window(number, (max(rows), max(columns)))
    corner = first.col_off, first.row_off
    width, height = last.col_off + last.width - corner[0], last.row_off + last.height - corner[1]
    place = level.transform @ rasterio.Affine.translation(*corner)
    sources = [
        _source(store.path(level, unit), grid.window(number, unit), corner, grid.dtype)
        for unit in full
    ]
    path.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{escape(grid.crs)}</SRS>'
        f'<GeoTransform>{", ".join(repr(v) for v in place.to_gdal())}</GeoTransform>'
        f'{_bands(grid, sources)}</VRTDataset>',
        encoding='utf-8',
    )
    return True


def _bands(grid: Grid, sources: list[str]) -> str:
    text = ''
    for number, meaning in enumerate(COLOURS[len(grid.bands)], 1):
        joined = ''.join(sources).replace('@BAND@', str(number))
        text += (
            f'<VRTRasterBand dataType="{GDAL_TYPES[grid.dtype]}" band="{number}">'
            f'<ColorInterp>{meaning.name.capitalize()}</ColorInterp>{joined}</VRTRasterBand>'
        )
    return text


def _source(path: Path, window: Window, corner: tuple[int, int], dtype: str) -> str:
    """One unit within a band of the VRT, whose corner is that of its level's pixels. The
    properties spare GDAL to open all files at once."""
    size = f'xSize="{window.width}" ySize="{window.height}"'
    left, top = window.col_off - corner[0], window.row_off - corner[1]
    return (
        f'<SimpleSource><SourceFilename relativeToVRT="0">{escape(str(path.resolve()))}'
        '</SourceFilename><SourceBand>@BAND@</SourceBand>'
        f'<SourceProperties RasterXSize="{window.width}" RasterYSize="{window.height}" '
        f'DataType="{GDAL_TYPES[dtype]}"/><SrcRect xOff="0" yOff="0" {size}/>'
        f'<DstRect xOff="{left}" yOff="{top}" {size}/></SimpleSource>'
    )
