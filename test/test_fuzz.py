"""Files of random damage: an error by name or an answer, never another exception.

The same examples in every run; more of them with `--hypothesis-seed` and a larger `EXAMPLES`.
"""

import io
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from quick import quick_first
from tiny import make_map, make_weights

from justzoom_ros.errors import JustZoomError
from justzoom_ros.io.datasets import read_images
from justzoom_ros.io.images import read_picture
from justzoom_ros.io.photos.folder import PhotoFolder
from justzoom_ros.io.photos.source import PhotoOptions, open_photos
from justzoom_ros.maps.map_file import read_info
from justzoom_ros.maps.tile_layout import read_layout
from justzoom_ros.models import ZoomPolicy

EXAMPLES = 60
fuzz = settings(max_examples=EXAMPLES, deadline=None, derandomize=True)

DAMAGE = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8)
"""(where, modulo the length; the new byte)."""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder that every example writes to anew."""
    return tmp_path_factory.mktemp('fuzz')


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """A whole map and whole weights."""
    folder = tmp_path_factory.mktemp('whole')
    make_weights(folder, make_map(folder))
    return folder


def damaged(content, damage, keep=1.0):
    """Bytes with some of them changed, cut to a share of their length."""
    result = bytearray(content)
    for place, value in damage:
        result[place % len(result)] = value
    return bytes(result[: int(len(result) * keep)])


def answers_or_names(path, read):
    """Call `read`; what it raises is one of ours, on one line, and names the file."""
    try:
        return read()
    except JustZoomError as error:
        assert path.name in str(error) or path.parent.name in str(error)
        assert '\n' not in str(error)
        return None


@pytest.mark.parametrize('form', quick_first(1, ['TIFF', 'JPEG', 'PNG', 'WEBP']))
@fuzz
@given(damage=DAMAGE, keep=st.floats(0.0, 1.0))
def test_pictures(folder, form, damage, keep):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, form)
    path = folder / 'a.jpg'
    path.write_bytes(damaged(buffer.getvalue(), damage, keep))
    image = answers_or_names(path, lambda: read_picture(path))
    assert image is None or (image.ndim == 3 and image.dtype == np.uint8)
    answers_or_names(path, lambda: read_images(folder))
    answers_or_names(path, lambda: PhotoFolder(folder, PhotoOptions()).read())


KEYS = ('id', 'file', 'lat', 'lon', 'geometry', 'computed_geometry', 'captured_at',
        'compass_angle', 'camera_parameters', 'camera_type', 'is_pano', 'sequence', 'fov_deg',
        'MAPCaptureTime', 'MAPCompassHeading', 'position_std_m', 'fx_px', 'error')  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ('coordinates', 'TrueHeading', 'id', 'message')), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


@pytest.mark.slow
@fuzz
@given(record=st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_what_is_said_of_photos(folder, record):
    Image.new('RGB', (8, 6)).save(folder / 'x.jpg')
    path = folder / 'photos.json'
    path.write_text(json.dumps([{**record, 'file': 'x.jpg'}, record]))
    for photo in answers_or_names(path, lambda: open_photos(path).read()):
        assert photo.faults or (photo.latitude is not None and photo.lens is not None)
        assert all('\n' not in fault.says for fault in photo.faults)


@pytest.mark.slow
@fuzz
@given(text=st.text(max_size=200), damage=DAMAGE)
def test_tables(folder, text, damage):
    path = folder / 'table.csv'
    path.write_text('file,lat,lon,stamp\n' + text, encoding='utf-8', errors='replace')
    answers_or_names(path, lambda: read_images(path))
    whole = b'file,lat,lon,stamp\na.jpg,52.5,13.4,1000\n"b",1e999,nan,2013-06-04T12:00:00Z\n'
    path.write_bytes(damaged(whole, damage))
    answers_or_names(path, lambda: read_images(path))


@fuzz
@given(damage=DAMAGE, keep=st.floats(0.0, 1.0))
def test_descriptions_of_maps(folder, tiny, damage, keep):
    path = folder / 'map.yaml'
    path.write_bytes(damaged((tiny / 'map' / 'map.yaml').read_bytes(), damage, keep))
    answers_or_names(path, lambda: read_info(folder))


@pytest.mark.slow
@fuzz
@given(values=st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
))  # fmt: skip
def test_layouts_of_tiles(tmp_path_factory, values):
    names = ('crs', 'tile_axes', 'tile_shape_px', 'origin_crs', 'size_crs', 'path', 'preset')
    folder = tmp_path_factory.mktemp('tiles')
    (folder / 'layout.yaml').write_text(json.dumps(dict.fromkeys(names, values)))
    answers_or_names(folder / 'layout.yaml', lambda: read_layout(folder))


@fuzz
@given(damage=DAMAGE, length=st.none() | st.integers(0, 2**64 - 1))
def test_weights(folder, tiny, damage, length):
    content = (tiny / 'weights.safetensors').read_bytes()
    header = struct.unpack('<Q', content[:8])[0]
    changed = damaged(content[: 8 + header], damage) + content[8 + header :]
    if length is not None:
        changed = struct.pack('<Q', length) + changed[8:]
    path = folder / 'weights.safetensors'
    path.write_bytes(changed)
    answers_or_names(path, lambda: ZoomPolicy.load(path))
