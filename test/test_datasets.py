"""Dataset readers against made data, whose truth is what was written, and a real flight."""

import csv
from datetime import datetime, timezone

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from justzoom_ros.errors import DatasetError
from justzoom_ros.io.datasets import parse_select, parse_stamp, read_images
from justzoom_ros.region import Region

NOON_NS = int(datetime(2013, 6, 4, 12, tzinfo=timezone.utc).timestamp()) * 10**9


def rational(numerator, denominator):
    return TiffImagePlugin.IFDRational(numerator, denominator)


def save_jpeg(path, gps=None, time=None, subsecond=None, offset=None, orientation=None):
    """A grey JPEG with the given EXIF; gps = (letter, 3 rationals, letter, 3 rationals)."""
    image = Image.new('RGB', (32, 24), (90, 120, 60))
    exif = Image.Exif()
    if gps:
        exif[0x8825] = {tag: value for tag, value in enumerate(gps, 1) if value is not None}
    photo = {36867: time, 37521: subsecond, 36881: offset}
    exif[0x8769] = {tag: value for tag, value in photo.items() if value is not None}
    if orientation:
        exif[274] = orientation
        image.putpixel((0, 0), (255, 0, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif, quality=100, subsampling=0)
    return path


def degrees(d, m, s_hundredths):
    return rational(d, 1), rational(m, 1), rational(s_hundredths, 100)


BERLIN = ('N', degrees(52, 31, 1224), 'E', degrees(13, 24, 1800))


def write_csv(path, header, *rows):
    with path.open('w', newline='') as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def listed(tmp_path):
    """A CSV of two files with positions."""
    for name in ('a.jpg', 'b.jpg'):
        save_jpeg(tmp_path / 'images' / name, time='2013:06:04 12:00:00')
    header = ('file', 'lat', 'lon', 'role')
    return write_csv(
        tmp_path / 'list.csv', header, ('a.jpg', 1.5, -2, 'map'), ('b.jpg', -3, 4, 'query')
    )


# --- geotagged folders -------------------------------------------------------------------------


def test_folder_reads_position_and_time_from_exif(tmp_path):
    save_jpeg(tmp_path / 'b.JPG', BERLIN, '2013:06:04 12:00:00', '25', '+02:00')
    west = ('S', degrees(33, 51, 3596), 'W', degrees(70, 0, 0))
    save_jpeg(tmp_path / 'a.jpeg', west, '2013:06:04 12:00:00')
    (tmp_path / 'readme.txt').write_text('no image')
    a, b = read_images(tmp_path)
    assert (a.id, b.id) == ('a.jpeg', 'b.JPG')
    assert a.latitude == pytest.approx(-(33 + 51 / 60 + 35.96 / 3600), abs=1e-9)
    assert a.longitude == pytest.approx(-70, abs=1e-9)
    assert b.latitude == pytest.approx(52 + 31 / 60 + 12.24 / 3600, abs=1e-9)
    assert a.stamp_ns == NOON_NS
    assert b.stamp_ns == NOON_NS - 2 * 3600 * 10**9 + 250_000_000


@pytest.mark.parametrize('time', [None, '    :  :     :  :  ', '0000:00:00 00:00:00'])
def test_an_image_without_a_time_has_none(tmp_path, time):
    save_jpeg(tmp_path / 'a.jpg', BERLIN, time)
    assert read_images(tmp_path)[0].stamp_ns is None


@pytest.mark.parametrize(
    ('gps', 'says'),
    [
        (None, 'no GPS latitude'),
        ((None, BERLIN[1], 'E', BERLIN[3]), 'hemisphere'),
        (('X', BERLIN[1], 'E', BERLIN[3]), 'hemisphere'),
        (('N', BERLIN[1]), 'no GPS longitude'),
        (('N', (rational(0, 0),) * 3, 'E', BERLIN[3]), 'not a number'),
        (('N', (rational(52, 1), rational(31, 1), rational(5, 0)), 'E', BERLIN[3]), 'not a num'),
        (('N', degrees(99, 0, 0), 'E', BERLIN[3]), 'not within'),
    ],
)
def test_bad_gps_names_the_file(tmp_path, gps, says):
    save_jpeg(tmp_path / 'good.jpg', BERLIN)
    save_jpeg(tmp_path / 'tagless.jpg', gps)
    with pytest.raises(DatasetError, match=f'tagless.jpg.*{says}'):
        read_images(tmp_path)


def test_folders_that_are_no_dataset(tmp_path):
    with pytest.raises(DatasetError, match='holds no image'):
        read_images(tmp_path)
    with pytest.raises(DatasetError, match='does not exist'):
        read_images(tmp_path / 'nothing')
    with pytest.raises(DatasetError, match='without columns'):
        read_images(tmp_path, {'role': 'query'})


def test_load_turns_the_image_upright(tmp_path):
    save_jpeg(tmp_path / 'a.jpg', BERLIN, orientation=6)  # 6: the top of the scene is at the right
    pixels = read_images(tmp_path)[0].load()
    assert pixels.shape == (32, 24, 3) and pixels.dtype == np.uint8
    assert pixels[0, 23, 0] > 180 > pixels[0, 0, 0]


def test_corrupt_images_are_named(tmp_path):
    file = save_jpeg(tmp_path / 'a.jpg', BERLIN)
    whole = file.read_bytes()
    file.write_bytes(whole[:-8])
    with pytest.raises(DatasetError, match='a.jpg is corrupt'):
        read_images(tmp_path)[0].load()
    for broken in (b'', whole[:20], b'not an image at all'):
        file.write_bytes(broken)
        with pytest.raises(DatasetError, match='a.jpg is not a readable image'):
            read_images(tmp_path)


# --- CSV of files ------------------------------------------------------------------------------


def test_csv_of_files(listed):
    a, b = read_images(listed)
    assert (a.id, a.latitude, a.longitude, a.stamp_ns) == ('a.jpg', 1.5, -2.0, NOON_NS)
    assert b.path.is_file() and b.row == 'list.csv row 3'
    assert [i.id for i in read_images(listed, {'role': 'query'})] == ['b.jpg']


@pytest.mark.parametrize('header', [('image', 'latitude', 'longitude'), ('Path', 'LAT', 'Lon')])
def test_column_names_and_a_byte_order_mark(tmp_path, header):
    save_jpeg(tmp_path / 'a.jpg')
    (tmp_path / 'l.csv').write_text('\ufeff' + ','.join(header) + '\r\na.jpg, 1 ,2\r\n\r\n')
    (image,) = read_images(tmp_path / 'l.csv')
    assert (image.latitude, image.longitude, image.stamp_ns) == (1, 2, None)


@pytest.mark.parametrize(
    ('text', 'ns'),
    [
        ('1370347200', NOON_NS),
        ('1370347200.123456789', NOON_NS + 123_456_789),
        ('2013-06-04T12:00:00Z', NOON_NS),
        ('2013-06-04 14:00:00.5+02:00', NOON_NS + 500_000_000),
        ('2013:06:04 12:00:00.000000001', NOON_NS + 1),
    ],
)
def test_stamps(tmp_path, text, ns):
    save_jpeg(tmp_path / 'a.jpg', time='1999:01:01 00:00:00')
    listed = write_csv(tmp_path / 'l.csv', ('file', 'lat', 'lon', 'stamp'), ('a.jpg', 1, 2, text))
    assert parse_stamp(text) == ns
    assert read_images(listed)[0].stamp_ns == ns


@pytest.mark.parametrize('text', ['noon', 'nan', '2013:13:04 12:00:00', '1370347200000', '-5'])
def test_bad_stamps_name_the_row(text):
    with pytest.raises(DatasetError, match='list.csv row 7'):
        parse_stamp(text, 'list.csv row 7')


@pytest.mark.parametrize(
    ('row', 'says'),
    [
        (('a.jpg', 'nan', 0, 'x'), 'row 4: position'),
        (('a.jpg', '', 0, 'x'), 'row 4: position'),
        (('a.jpg', 'north', 0, 'x'), 'row 4: position'),
        (('a.jpg', 90.1, 0, 'x'), 'row 4: position'),
        (('a.jpg', 0, 'inf', 'x'), 'row 4: position'),
        (('a.jpg', 0, -180.5, 'x'), 'row 4: position'),
        (('c.jpg', 0, 0, 'x'), 'row 4: c.jpg is not in'),
        (('', 0, 0, 'x'), 'row 4 names no file'),
        (('a.jpg', 0, 0), 'row 4 has 3 values for 4'),
        (('a.jpg', 1, 2, 'x'), r"row 4: the id 'a.jpg' is there already, in list.csv row 2"),
    ],
)
def test_bad_rows_are_named(listed, row, says):
    with listed.open('a', newline='') as file:
        csv.writer(file).writerow(row)
    with pytest.raises(DatasetError, match=says):
        read_images(listed)


@pytest.mark.parametrize(
    ('content', 'says'),
    [
        (b'', 'no rows'),
        (b'file,lat,lon\n', 'no rows'),
        (b'file,lat\na,1\n', 'needs the columns'),
        (b'file,lat,lat\na,1,2\n', 'column twice'),
        (b'\xff\xfe\x00', 'not a readable CSV'),
        (b'file,lat,lon\n"a,1,2\n', 'not a readable CSV'),
    ],
)
def test_bad_csv(tmp_path, content, says):
    (tmp_path / 'l.csv').write_bytes(content)
    with pytest.raises(DatasetError, match=f'l.csv.*{says}'):
        read_images(tmp_path / 'l.csv')


def test_select_says_what_there_is(listed):
    with pytest.raises(DatasetError, match='no column .part.*file, lat, lon, role'):
        read_images(listed, {'part': 'x'})
    with pytest.raises(DatasetError, match='role=x, but map, query'):
        read_images(listed, {'role': 'x'})
    assert parse_select(['role=query', 'day=1=2']) == {'role': 'query', 'day': '1=2'}
    for wrong in (['role'], ['=x'], ['a=1', 'a=2']):
        with pytest.raises(DatasetError, match='COLUMN=VALUE'):
            parse_select(wrong)


# --- the published format ----------------------------------------------------------------------


@pytest.fixture
def published_region():
    bounds = (-3000, 7000, -5000, 5000)
    return Region.from_bounds(38.8936, -77.0116, bounds, plane='sphere')


@pytest.fixture
def published(tmp_path):
    save_jpeg(tmp_path / 'streetview' / 'images' / 'x1_undistorted.jpg')
    (tmp_path / 'metadata').mkdir()

    def write(latitude=38.908513, longitude=-76.940898, sequence='[7, 6, 6, 5]', image='x1'):
        header = ('image_id', 'latitude', 'longitude', 'sequence')
        row = (image, latitude, longitude, sequence)
        return write_csv(tmp_path / 'metadata' / 'test.csv', header, row)

    return write


def test_published_format(published, published_region):
    (image,) = read_images(published(), region=published_region)
    assert (image.id, image.latitude, image.longitude) == ('x1', 38.908513, -76.940898)
    assert image.path.name == 'x1_undistorted.jpg' and image.load().shape == (24, 32, 3)


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'sequence': '[7, 6, 6, 6]'}, 'row 2: .* outside the cell of its sequence'),
        ({'sequence': '[7, 6, 6]'}, 'row 2: .* does not fit a 4 x 4 tree of depth 4'),
        ({'sequence': '[7, 6, 6, 16]'}, 'row 2: .* does not fit'),
        ({'sequence': '7665'}, 'row 2: .* no list of actions'),
        ({'image': ''}, 'row 2 has no image_id'),
        ({'image': 'x2'}, 'row 2: streetview/images/x2_undistorted.jpg is not in'),
    ],
)
def test_published_rows_that_contradict(published, published_region, changes, says):
    with pytest.raises(DatasetError, match=says):
        read_images(published(**changes), region=published_region)


def test_a_point_on_a_cell_line_may_be_rounded_across_it(published, published_region):
    cell = published_region.cell((7, 6, 6, 5))
    edge = cell.east_m + cell.side_m / 2
    for outside_m, fits in ((0.05, True), (1.0, False)):
        lat, lon = published_region.to_latlon(edge + outside_m, cell.north_m)
        if fits:
            read_images(published(lat, lon), region=published_region)
        else:
            with pytest.raises(DatasetError, match='1.0 m outside'):
                read_images(published(lat, lon), region=published_region)


def test_published_rows_of_the_reference(shared, published, published_region):
    with (shared / 'reference' / 'published_rows.csv').open() as file:
        for row in csv.DictReader(file):
            (image,) = read_images(published(**row), region=published_region)
            assert (
                str(list(published_region.encode(image.latitude, image.longitude)))
                == row['sequence']
            )


# --- a real flight -----------------------------------------------------------------------------


def test_seneca(shared):
    seneca = shared / 'data' / 'seneca'
    queries = read_images(seneca / 'frames.csv', parse_select(['role=query']))
    tagged = {image.id: image for image in read_images(seneca / 'images')}
    assert len(queries) == 83 and len(tagged) == 167
    for image in queries:
        same = tagged[image.id]
        assert same.stamp_ns == image.stamp_ns
        assert same.latitude == pytest.approx(image.latitude, abs=1e-9)
        assert same.longitude == pytest.approx(image.longitude, abs=1e-9)
    assert queries[0].load().shape == (750, 1000, 3)
