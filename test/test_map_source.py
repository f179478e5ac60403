"""Sources of imagery: what recognizes which path, and one of a user's own."""

import numpy as np
import pytest

from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.maps.build import build
from justzoom_ros.maps.raster_source import RasterSource
from justzoom_ros.maps.source import MAP_SOURCES, SourceOptions, open_source
from justzoom_ros.maps.tile_source import TileSource
from justzoom_ros.region import Region

REGION = Region(10.0, 20.0, 64.0, grid=2, depth=2)


class ChessSource:
    """A chessboard that covers the whole earth, black and white by map pixel."""

    crs, stretch = 'OGC:CRS84', None

    @staticmethod
    def recognizes(path):
        return path.suffix == '.chess'

    def __init__(self, path, options):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def resolution_m(self, region):
        return 1.0

    def outline(self):
        return np.array([-80.0, 80.0]), np.array([-180.0, 180.0])

    def overlaps(self, region):
        return True

    def prepare(self, region, side_px):
        self.side_px = side_px

    def read(self, window):
        row, column = np.indices((window.height, window.width))
        white = (row + window.row_off + column + window.col_off) % 2 == 1
        rgb = np.repeat(np.uint8(255) * white[..., None].astype(np.uint8), 3, axis=2)
        return rgb, np.ones(rgb.shape[:2], bool)


def test_each_path_is_recognized_by_one_source(tmp_path):
    (tmp_path / 'layout.yaml').touch()
    for path, tiles in (
        (tmp_path, True),
        (tmp_path / 'layout.yaml', True),
        (tmp_path / 'ortho.tif', False),
        (tmp_path / 'nothing' / 'layout.yaml', False),
    ):
        assert TileSource.recognizes(path) == tiles
        assert RasterSource.recognizes(path) == (not path.is_dir())


def test_a_source_of_ones_own_is_one_class_and_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(MAP_SOURCES, 'entries', dict(MAP_SOURCES.entries))
    MAP_SOURCES.register('chessboard', ChessSource)
    info, pixels, mask = build(tmp_path / 'my.chess', REGION, tmp_path / 'map', crop_px=32)
    assert mask.all() and info.source == 'my.chess'
    # crop_px 32 over 2 cells of a side: 16 pixels per terminal cell of 16 m, 64 along the side.
    expected = 255 * (np.indices((64, 64)).sum(axis=0) % 2)
    np.testing.assert_array_equal(pixels, np.repeat(expected[..., None], 3, axis=2))


def test_what_no_source_recognizes_is_refused_with_the_kinds_there_are(monkeypatch, tmp_path):
    monkeypatch.setattr(MAP_SOURCES, 'entries', {'chessboard': ChessSource})
    with pytest.raises(MapError, match='ortho.tif is none .* chessboard'):
        open_source(tmp_path / 'ortho.tif')


def test_tiles_refuse_options_of_rasters(tmp_path):
    with pytest.raises(ConfigError, match='bands and stretch do not apply'):
        open_source(tmp_path, SourceOptions(stretch=(0.0, 1.0)))
