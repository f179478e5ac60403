"""Folders of photos as cameras leave them, and pictures that cannot be read."""

import logging
import os

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from justzoom_ros.errors import DatasetError, ImageError, OutputError
from justzoom_ros.files import writing
from justzoom_ros.io.datasets import read_images
from justzoom_ros.io.exif import read_exif
from justzoom_ros.io.images import read_picture

NOON_NS = 1_370_347_200 * 10**9
"""2013-06-04 12:00 UTC."""


def photo(path, time='2013:06:04 12:00:00', offset=None):
    """A JPEG at 52.5 north, 13 east."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    whole = TiffImagePlugin.IFDRational
    exif[0x8825] = {
        1: 'N', 2: (whole(52), whole(30), whole(0)), 3: 'E', 4: (whole(13), whole(0), whole(0)),
    }  # fmt: skip
    exif[0x8769] = {36867: time, **({36881: offset} if offset else {})}
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(path, exif=exif)
    return path


def test_folders_within_a_folder_are_read_in_order(tmp_path):
    photo(tmp_path / 'DCIM' / '101MEDIA' / 'DJI_0001.JPG')
    photo(tmp_path / 'DCIM' / '100MEDIA' / 'DJI_0001.JPG')
    photo(tmp_path / '.thumbnails' / 'DJI_0001.JPG')
    ids = [image.id for image in read_images(tmp_path)]
    assert ids == ['DCIM/100MEDIA/DJI_0001.JPG', 'DCIM/101MEDIA/DJI_0001.JPG']


def test_pictures_that_are_not_read_are_listed(tmp_path, caplog):
    photo(tmp_path / 'a.jpg')
    for name in ('IMG_1.HEIC', 'sub/DJI_0009.DNG', 'film.mp4', 'Thumbs.db'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'x')
    with caplog.at_level(logging.WARNING):
        assert [image.id for image in read_images(tmp_path)] == ['a.jpg']
    assert 'IMG_1.HEIC, sub/DJI_0009.DNG' in caplog.text and 'HEIC' in caplog.text
    assert 'film' not in caplog.text


@pytest.mark.parametrize(
    ('offset', 'hours'), [('+02:00', 2), ('+0200', 2), ('-03', -3), ('-0330', -3.5), ('junk', 0)]
)
def test_offsets_from_utc_in_every_form(tmp_path, offset, hours):
    photo(tmp_path / 'a.jpg', offset=offset)
    assert read_images(tmp_path)[0].stamp_ns == NOON_NS - hours * 3600 * 10**9


@pytest.mark.parametrize('time', ['2013:13:45 12:00:00', 'noon on day 4', '1904:01:01 00:00:00'])
def test_an_odd_time_costs_the_time_and_not_the_photo(tmp_path, caplog, time):
    photo(tmp_path / 'a.jpg', time)
    with caplog.at_level(logging.WARNING):
        (image,) = read_images(tmp_path)
    assert image.stamp_ns is None and image.latitude == 52.5
    assert 'a.jpg' in caplog.text and 'has no time' in caplog.text


@pytest.fixture
def small_limit(monkeypatch):
    """Pillow refuses pictures of more than twice this many pixels."""
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 20)


def test_a_picture_beyond_the_limit_is_refused_by_name(tmp_path, small_limit):
    file = photo(tmp_path / 'a.jpg')
    with pytest.raises(ImageError, match='a.jpg is too large'):
        read_picture(file)
    with pytest.raises(DatasetError, match='a.jpg is not a readable image'):
        read_images(tmp_path)


def test_what_is_no_picture_is_called_what_it_is(tmp_path, monkeypatch):
    (tmp_path / 'x.heic').write_bytes(b'ftypheic')
    for path, says in ((tmp_path, 'is a folder'), (tmp_path / 'x.heic', 'HEIC is not read')):
        with pytest.raises(ImageError, match=says):
            read_picture(path)

    def refuse(*arguments, **options):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(Image, 'open', refuse)
    with pytest.raises(ImageError, match='permission denied'):
        read_picture(tmp_path / 'x.heic')


@pytest.mark.parametrize(
    ('data', 'says'),
    [
        (b'', 'a.jpg: the file is empty'),
        (b'hello', 'a.jpg: it is no picture of a kind that is read; save it'),
        (b'\0\0\0\x18ftypheic0000', 'a.jpg: HEIC is not read; save it'),
        (b'\0\0\0\x18ftypavif0000', 'a.jpg: HEIC is not read; save it'),
        (b'\0\0\0\x18ftypmp420000', 'a.jpg: it is no picture of a kind'),
    ],
)
def test_a_name_does_not_make_a_picture(tmp_path, data, says):
    (tmp_path / 'a.jpg').write_bytes(data)
    with pytest.raises(ImageError, match=says):
        read_picture(tmp_path / 'a.jpg')


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'a.jpg')
    with pytest.raises(ImageError, match='a pipe and no file'):
        read_picture(tmp_path / 'a.jpg')
    with pytest.raises(DatasetError, match='a pipe and no file'):
        read_exif('row 1', tmp_path / 'a.jpg')


def test_a_place_without_a_name_is_resolved_or_refused(tmp_path, monkeypatch):
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    with writing('.') as folder:
        folder.mkdir()
        (folder / 'a').touch()
    assert (tmp_path / 'here' / 'a').exists()
    with pytest.raises(OutputError, match='root'), writing('/'):
        pass
