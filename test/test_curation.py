"""Datasets built of photos made here: what is kept, what is not and why, against what was made."""

import csv
import json
import math

import numpy as np
import pytest
from imagery import CENTER, enu_by_geodesic, latlon_at
from photo_support import (
    directions,
    gps_tags,
    make_map,
    save_photo,
    save_track,
    scene,
    seconds,
    u_turn,
    write_json,
)
from PIL import Image, ImageFilter

from justzoom_ros.cli.main import main
from justzoom_ros.curation.build import SourcePath, build_dataset
from justzoom_ros.curation.config import BuildConfig
from justzoom_ros.curation.places import _distance_m, split_by_place
from justzoom_ros.curation.selection import Entry, Selection
from justzoom_ros.curation.tracks import courses, find_jumps, split_at_gaps
from justzoom_ros.errors import ConfigError, DatasetError
from justzoom_ros.io.datasets import read_images
from justzoom_ros.io.photos.source import Photo
from justzoom_ros.maps.satellite_map import SatelliteMap

SMALL = {'block_m': 40.0, 'buffer_m': 5.0}


@pytest.fixture(scope='module')
def ground(tmp_path_factory):
    """A map folder."""
    return make_map(tmp_path_factory.mktemp('ground'))


@pytest.fixture
def build(tmp_path, ground):
    """Builds `tmp_path / 'photos'`, or another path there, and reads the tables back."""

    def run(*paths, map=ground, **config):
        sources = [SourcePath(tmp_path / path) for path in paths or ('photos',)]
        out = tmp_path / 'out'
        report = build_dataset(
            sources, map, out, BuildConfig(**(SMALL | config)), overwrite=True, pictures=False
        )
        return report, *(read_table(out / f'{name}.csv') for name in ('metadata', 'dropped'))

    return run


def read_table(path):
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def off_deg(one, other):
    return np.abs((np.asarray(one, float) - np.asarray(other, float) + 180) % 360 - 180)


# --- what a dataset holds ------------------------------------------------------------------------


def test_a_dataset_has_the_published_layout_and_reads_back(tmp_path, build, ground):
    save_track(tmp_path / 'photos', headings=directions(u_turn()), accuracy_m=6.0)
    report, rows, _ = build()
    region = SatelliteMap.open(tmp_path / 'out' / 'map').region
    images = read_images(tmp_path / 'out' / 'metadata.csv', region=region)
    assert len(images) == len(rows) == sum(report.kept.values())
    assert region == SatelliteMap.open(ground).region
    track = u_turn()
    for image, row in zip(images, rows, strict=True):
        number = int(row['source'][4:8])
        east, north = enu_by_geodesic(image.latitude, image.longitude)
        assert (east, north) == pytest.approx(tuple(track[number]), abs=0.05)
        assert float(row['heading_deg']) == pytest.approx(directions(track)[number], abs=1e-2)
        assert row['heading_source'] == 'compass' and float(row['heading_std_deg']) == 15.0
        assert float(row['position_std_m']) == 6.0
        assert image.stamp_ns == (1_714_557_600 + number) * 10**9  # 10:00 UTC
        assert image.load().shape == (48, 64, 3)
        focal_px = 32 / math.tan(math.radians(float(row['fov_deg'])) / 2)
        assert float(row['fx_px']) == pytest.approx(focal_px, abs=1e-2)


def test_photos_read_are_those_kept_and_those_left_out(tmp_path, build):
    paths = save_track(tmp_path / 'photos', headings=directions(u_turn()))
    report, rows, dropped = build()
    names = [row['source'] for row in rows] + [row['photo'] for row in dropped]
    assert sorted(names) == sorted(path.name for path in paths)
    assert sum(report.dropped.values()) == len(dropped)
    assert list(report.read.values()) == [len(paths)]


@pytest.mark.slow
def test_the_report_is_a_page_with_its_counts_and_pictures(tmp_path, ground):
    save_track(tmp_path / 'photos', headings=directions(u_turn()))
    out = tmp_path / 'out'
    report = build_dataset([SourcePath(tmp_path / 'photos')], ground, out, BuildConfig(**SMALL))
    page = (out / 'report.html').read_text()
    assert f'{sum(report.kept.values())} photos kept of 41' in page and 'tracks.png' in page
    assert json.loads((out / 'report.json').read_text())['kept'] == report.kept
    for name in ('tracks.png', 'frames.png'):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 300


def test_a_dataset_that_is_there_is_kept_and_a_failed_build_leaves_nothing(tmp_path, ground):
    save_track(tmp_path / 'photos', focal_35=None)
    sources = [SourcePath(tmp_path / 'photos')]
    with pytest.raises(DatasetError):
        build_dataset(sources, ground, tmp_path / 'out', BuildConfig(**SMALL))
    assert [path.name for path in tmp_path.iterdir()] == ['photos']
    (tmp_path / 'out').mkdir()
    with pytest.raises(DatasetError, match='--overwrite'):
        build_dataset(sources, ground, tmp_path / 'out')


@pytest.mark.slow
def test_wide_photos_are_reduced_and_keep_their_view(tmp_path, build):
    track = u_turn()
    for i, (east, north) in enumerate(track):
        tags = {0xA405: 28, **seconds(i)}
        gps = gps_tags(*latlon_at(east, north), directions(track)[i])
        save_photo(tmp_path / 'photos' / f'{i}.jpg', scene(i, (200, 150)), gps, tags)
    _, rows, _ = build(max_width_px=100)
    by_hand = 2 * math.degrees(math.atan(0.8 * math.hypot(36, 24) / 2 / 28))
    assert {(row['width_px'], row['height_px']) for row in rows} == {('100', '75')}
    assert float(rows[0]['fov_deg']) == pytest.approx(by_hand, abs=1e-3)
    assert float(rows[0]['cx_px']) == 49.5


def run(*words):
    return main(['dataset', 'build', *map(str, words), '--no-pictures'])


def test_the_command_line_builds_counts_and_tells_errors_on_one_line(tmp_path, ground, capsys):
    save_track(tmp_path / 'photos', focal_35=None)
    words = tmp_path / 'photos', '--map', ground, '-o', tmp_path / 'out', '--block', 40
    assert run(*words) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith('justzoom: error: IMG_0000.jpg') and '--fov' in told
    assert run(*words, '--buffer', 5, '--fov', 70, '--json') == 0
    found = json.loads(capsys.readouterr().out)
    assert sum(found['kept'].values()) + sum(found['dropped'].values()) == 41
    assert found['config']['fov_deg'] == 70 and found['assumed_position_std'] > 0


@pytest.mark.slow
def test_a_dataset_may_be_built_of_another_and_a_photo_that_is_listed_twice_counts_once(
    tmp_path, build
):
    save_track(tmp_path / 'photos', headings=directions(u_turn()), accuracy_m=6.0)
    _, rows, _ = build(val=0.0, test=0.0, workers=3)
    (tmp_path / 'out').rename(tmp_path / 'first')
    table = tmp_path / 'first' / 'metadata.csv'
    table.write_text(table.read_text() + table.read_text().splitlines()[-1] + '\n')
    report, again, dropped = build('first/metadata.csv', val=0.0, test=0.0)
    kept = ('latitude', 'longitude', 'heading_deg', 'fov_deg', 'position_std_m', 'stamp')
    assert [[r[c] for c in kept] for r in again] == [[r[c] for c in kept] for r in rows]
    assert [row['reason'] for row in dropped] in (['standing still'], ['duplicate'])


# --- bad input -----------------------------------------------------------------------------------


def test_without_any_lens_one_error_asks_for_the_field_of_view(tmp_path, build):
    save_track(tmp_path / 'photos', focal_35=None, headings=directions(u_turn()))
    with pytest.raises(DatasetError, match='IMG_0000.jpg.*no focal.*41 of 41.*--fov.*CameraInfo'):
        build()
    _, rows, _ = build(fov_deg=70.0)
    assert {(row['fov_deg'], row['lens_source']) for row in rows} == {('70.0', '--fov')}


def test_a_focal_length_of_zero_is_an_error_by_name(tmp_path, build):
    save_track(tmp_path / 'photos', headings=directions(u_turn()))
    east, north = u_turn()[3]
    tags = {0x920A: 0.0, **seconds(3)}
    save_photo(
        tmp_path / 'photos' / 'IMG_0003.jpg', scene(3), gps_tags(*latlon_at(east, north), 90), tags
    )
    with pytest.raises(DatasetError, match=r'IMG_0003.jpg: its EXIF focal length is 0 \(1 of 41'):
        build()
    _, _, dropped = build(drop=('no-lens',))
    assert ('IMG_0003.jpg', 'no-lens') in [(row['photo'], row['reason']) for row in dropped]


def test_photos_without_a_position_are_an_error_or_are_counted(tmp_path, build):
    save_track(tmp_path / 'photos', headings=directions(u_turn()))
    save_photo(tmp_path / 'photos' / 'x.jpg', scene(99), photo={0xA405: 28})
    with pytest.raises(DatasetError, match='x.jpg.*position.*1 of 42.*--drop no-position'):
        build()
    report, _, _ = build(drop=('no-position',))
    assert report.dropped['no-position'] == 1


def test_photos_all_off_the_map_are_an_error_with_both_places(tmp_path, build):
    for i in range(3):
        gps = gps_tags(48.1 + i / 1000, 11.5, 0)
        save_photo(tmp_path / 'photos' / f'{i}.jpg', scene(i), gps, {0xA405: 28})
    with pytest.raises(DatasetError, match=r'0.jpg.*48.1.*km.*41.03.*none of 3 photos'):
        build()


def test_exchanged_coordinates_are_recognized(tmp_path, build):
    save_photo(tmp_path / 'a.jpg', scene(0))
    table = tmp_path / 'photos.csv'
    table.write_text(f'file,lat,lon,fov_deg\na.jpg,{CENTER[1]},{CENTER[0]},70\n')
    with pytest.raises(DatasetError, match='a.jpg.*exchanged'):
        build('photos.csv')


@pytest.mark.slow
def test_photos_partly_off_the_map_or_its_imagery_are_counted(tmp_path, build):
    track = np.stack([np.arange(-295, 405, 10.0), np.zeros(70)], axis=1)
    save_track(tmp_path / 'photos', track, headings=directions(track))
    half = make_map(tmp_path, covered_share=0.5)
    report, rows, _ = build(map=half)
    off = int((np.abs(track[:, 0]) > 320).sum())
    assert report.dropped['off the map'] == off
    assert report.dropped['no imagery there'] > 20
    assert max(enu_by_geodesic(float(r['latitude']), float(r['longitude']))[0] for r in rows) < 10


def test_a_panorama_is_an_error_by_name(tmp_path, build):
    save_photo(tmp_path / '1.jpg', scene(0))
    lat, lon = CENTER
    image = {'id': '1', 'geometry': {'coordinates': [lon, lat]}, 'is_pano': True}
    write_json(tmp_path / 'photos.json', [image])
    with pytest.raises(DatasetError, match='photos.json image 1.*panorama.*--drop panorama'):
        build('photos.json')


@pytest.mark.slow
def test_a_corrupt_picture_is_an_error_or_is_counted(tmp_path, build):
    paths = save_track(tmp_path / 'photos', headings=directions(u_turn()))
    paths[20].write_bytes(paths[20].read_bytes()[:-3000])
    with pytest.raises(DatasetError, match='IMG_0020.jpg.*--drop unreadable'):
        build()
    report, _, _ = build(drop=('unreadable',))
    assert report.dropped['unreadable'] == 1


def test_a_config_out_of_range_names_the_field():
    with pytest.raises(ConfigError, match='max_speed_m_s'):
        BuildConfig(max_speed_m_s=0)
    with pytest.raises(ConfigError, match='fog.*no-lens'):
        BuildConfig(drop=('fog',))
    with pytest.raises(ConfigError, match='train'):
        BuildConfig(val=0.6, test=0.5)


# --- headings ------------------------------------------------------------------------------------


def test_photos_without_a_compass_look_where_they_go(tmp_path, build):
    save_track(tmp_path / 'photos')
    _, rows, _ = build(mount_deg=90.0)
    # At the corners the way in and the way out differ by 90 degrees, and the heading says so.
    numbers = np.array([int(row['source'][4:8]) for row in rows])
    errors = off_deg([row['heading_deg'] for row in rows], directions(u_turn())[numbers] + 90)
    stds = np.array([float(row['heading_std_deg']) for row in rows])
    assert np.median(errors) < 0.1 and errors.max() <= 46
    assert stds[errors > 20].min() > 20 and {row['heading_source'] for row in rows} == {'track'}


@pytest.mark.slow
def test_a_side_camera_s_own_headings_say_how_it_is_mounted(tmp_path, build):
    noise = np.random.default_rng(1).normal(0, 10, 41)
    save_track(tmp_path / 'photos', headings=directions(u_turn()) - 90 + noise)
    report, rows, _ = build()
    assert list(report.mounts_deg.values()) == [pytest.approx(-90, abs=6)]
    assert len(rows) > 25


def test_one_heading_against_its_track_is_left_out(tmp_path, build):
    headings = directions(u_turn())
    headings[7] += 180
    save_track(tmp_path / 'photos', headings=headings)
    _, _, dropped = build()
    (row,) = [row for row in dropped if row['reason'] == 'heading']
    assert row['photo'] == 'IMG_0007.jpg' and '180 degrees' in row['more']


@pytest.mark.slow
@pytest.mark.parametrize(
    ('convert', 'says'),
    [
        (lambda heading: 90 - heading, 'counter-clockwise from east'),
        (lambda heading: -heading, 'counter-clockwise from north'),
        (lambda heading: np.radians(heading), 'in radians'),
        (lambda heading: np.random.default_rng(0).uniform(0, 360, 41), 'contradict'),
    ],
)
def test_headings_that_contradict_the_track_are_an_error_that_says_how_they_may_be_counted(
    tmp_path, build, convert, says
):
    save_track(tmp_path / 'photos', headings=convert(directions(u_turn())))
    with pytest.raises(DatasetError, match=f'IMG_0000.jpg.*{says}.*--heading track'):
        build()
    _, rows, _ = build(heading='track')
    assert {row['heading_source'] for row in rows} == {'track'}
    assert len(build(max_heading_error_deg=180.0)[1]) > 20


@pytest.mark.slow
def test_magnetic_headings_are_corrected_or_told(tmp_path, build):
    headings = directions(u_turn()) - 12.0
    save_track(tmp_path / 'photos', headings=headings, reference='M')
    assert build()[0].uncorrected_magnetic == sum(build()[0].kept.values())
    report, rows, _ = build(declination_deg=12.0)
    numbers = [int(row['source'][4:8]) for row in rows]
    errors = off_deg([row['heading_deg'] for row in rows], directions(u_turn())[numbers])
    assert errors.max() < 0.01 and report.uncorrected_magnetic == 0


def test_a_photo_without_any_heading_is_an_error_unless_none_is_wanted(tmp_path, build):
    for i in range(12):
        east, north = 30.0 * (i % 4), 40.0 * (i // 4)
        save_photo(
            tmp_path / 'photos' / f'{i}.jpg',
            scene(i),
            gps_tags(*latlon_at(east, north)),
            {0xA405: 28},
        )
    with pytest.raises(DatasetError, match='0.jpg has no heading.*--heading none'):
        build()
    _, rows, _ = build(heading='none')
    assert rows and {row['heading_deg'] for row in rows} == {''}


# --- quality -------------------------------------------------------------------------------------


def test_a_camera_that_stands_still_gives_one_photo(tmp_path, build):
    track = np.concatenate([u_turn()[:15], np.repeat(u_turn()[14:15], 9, axis=0), u_turn()[15:]])
    save_track(
        tmp_path / 'photos', track, headings=directions(u_turn())[np.r_[:15, [14] * 9, 15:41]]
    )
    assert build()[0].dropped['standing still'] == 9


def test_positions_that_jump_are_left_out(tmp_path, build):
    track = u_turn()
    track[10] += (60.0, 60.0)  # out of reach in a second at any speed of a car
    track[33] += (0.0, 28.0)  # within reach, but off the line
    save_track(tmp_path / 'photos', track, headings=directions(u_turn()))
    _, _, dropped = build()
    jumped = [row['photo'] for row in dropped if row['reason'] == 'position jump']
    assert jumped == ['IMG_0010.jpg', 'IMG_0033.jpg']


def test_photos_taken_too_fast_are_left_out(tmp_path, build):
    track = np.stack([np.arange(-300, 300, 22.0), np.zeros(28)], axis=1)
    save_track(tmp_path / 'photos', track, headings=directions(track))
    report, rows, _ = build(max_speed_m_s=30.0)
    assert 'too fast' not in report.dropped
    with pytest.raises(DatasetError, match='no photo is left'):
        build(max_speed_m_s=20.0)


def test_blurred_dark_and_repeated_pictures_are_left_out(tmp_path, build):
    paths = save_track(tmp_path / 'photos', headings=directions(u_turn()))

    def rewrite(number, pixels):
        with Image.open(paths[number]) as old:
            exif = old.getexif()
        Image.fromarray(pixels).save(paths[number], exif=exif, quality=95)

    sharp = Image.fromarray(scene(5))
    rewrite(5, np.asarray(sharp.filter(ImageFilter.GaussianBlur(1.5))))
    rewrite(20, np.full((48, 64, 3), 3, np.uint8))
    rewrite(22, scene(21))
    _, _, dropped = build(buffer_m=0.0)
    assert {row['photo']: row['reason'] for row in dropped} == {
        'IMG_0005.jpg': 'blurred', 'IMG_0020.jpg': 'dark', 'IMG_0022.jpg': 'duplicate',
    }  # fmt: skip
    names = {path.name for path in (tmp_path / 'out/streetview/images').iterdir()}
    assert not names & {f'IMG_00{n}_undistorted.jpg' for n in ('05', '20', '22')}


# --- splits --------------------------------------------------------------------------------------


def scattered(count=2000):
    """Photos all over a map of 1 km."""
    places = np.random.default_rng(5).uniform(-500, 500, (count, 2))
    return Selection([Entry(Photo(str(i)), 0, i, *place) for i, place in enumerate(places)])


def test_places_of_one_split_are_far_from_those_of_another():
    selection = scattered()
    split_by_place(selection, BuildConfig(buffer_m=25.0))
    places = {s: np.array([(e.east_m, e.north_m) for e in selection.kept if e.split == s])
              for s in ('train', 'val', 'test')}  # fmt: skip
    for one, other in (('train', 'val'), ('train', 'test'), ('val', 'test')):
        gaps = places[one][:, None] - places[other][None]
        assert np.hypot(*gaps.T).min() >= 25.0
    assert len(selection.kept) + selection.counts()['too near another split'] == 2000
    assert all(0.08 < len(places[split]) / 2000 < 0.13 for split in ('val', 'test'))


def test_the_same_seed_gives_the_same_splits_and_another_others():
    splits = []
    for seed in (0, 0, 1):
        selection = scattered()
        split_by_place(selection, BuildConfig(seed=seed, buffer_m=0.0))
        splits.append([entry.split for entry in selection.kept])
    assert splits[0] == splits[1] != splits[2]


def test_photos_of_one_place_cannot_be_split(tmp_path, build):
    save_track(tmp_path / 'photos', u_turn() / 10 + 30, headings=directions(u_turn()))
    with pytest.raises(DatasetError, match='1 square of 400 m.*--block'):
        build(block_m=400.0, min_spacing_m=0.0)


def test_the_distance_to_a_square_is_that_to_its_nearest_point():
    places = np.array([(5.0, 5.0), (-3.0, 5.0), (13.0, 14.0)])
    found = _distance_m(places, np.array([(0.0, 0.0), (100.0, 100.0)]), 10.0)
    assert found == pytest.approx([0.0, 3.0, 5.0])


# --- tracks --------------------------------------------------------------------------------------


def test_a_track_breaks_where_it_cannot_be_driven_and_goes_on_after_an_outlier():
    seconds_ = np.arange(8.0)
    places = np.array([(10.0 * i, 0.0) for i in range(8)])
    places[3] += 500
    places[6:] += 900
    assert list(split_at_gaps(seconds_, places, 40.0, 15.0)) == [0, 0, 0, 1, 0, 0, 2, 2]


def test_a_bend_is_no_jump():
    angle = np.linspace(0, np.pi, 20)  # half a turn of 10 m radius in 10 s
    bend = 10 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert find_jumps(np.linspace(0, 10, 20), bend, 2.0) == {}


def test_the_course_of_a_slow_walk_is_over_five_metres():
    places = np.stack([np.zeros(40), np.arange(40) * 0.5], axis=1)
    places[:, 0] += np.random.default_rng(0).normal(0, 0.05, 40)
    course, std = courses(np.arange(40.0), places, np.full(40, 3.0))
    assert off_deg(course, 0.0).max() < 3 and np.all(std > 10)
    course, _ = courses(np.arange(40.0), np.zeros((40, 2)), np.full(40, 3.0))
    assert np.isnan(course).all()
