"""Pages: what is in the file, and, in a real browser, what it shows and does."""

import json
import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from browser import browser, needs_browser  # noqa: F401
from tiny import REGION, make_map

from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.evaluation.compare_report import write_calibration_report, write_compare_report
from justzoom_ros.evaluation.replay import ReplayedFix
from justzoom_ros.evaluation.replay_results import summarize
from justzoom_ros.evaluation.report import (
    ReportWords,
    frame_views,
    severity,
    verdict,
    worst_first,
    write_replay_report,
)
from justzoom_ros.evaluation.report_budget import MAX_FRAMES, PICTURE_CHARACTERS, within_budget
from justzoom_ros.evaluation.scored_fix import score_fix
from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.io.bags import Track
from justzoom_ros.maps.map_offset import MapOffset
from justzoom_ros.radii import RECALL_RADII_M
from justzoom_ros.report.content import Chart, FrameView, Page, Series, Table
from justzoom_ros.report.page import page_html, page_json, plain, write_page, write_report
from justzoom_ros.report.pictures import HEAT_PX, heat, thumbnail, uri

SECOND_NS = 10**9


@pytest.fixture(scope='module')
def map(tmp_path_factory):
    return make_map(tmp_path_factory.mktemp('page'))


def fix_at(east_m, north_m, number, sigma_m=5.0, status='fix', **more):
    latitude, longitude = REGION.to_latlon(east_m, north_m)
    covariance = np.eye(2) * sigma_m**2
    return ReplayedFix(
        number * SECOND_NS, status, '', latitude, longitude, covariance, 0.9, None, **more
    )


def track_of(points):
    """The true positions at whole seconds."""
    latitudes, longitudes = REGION.to_latlon(*np.array(points, float).T)
    return Track(np.arange(len(points)) * SECOND_NS, latitudes, longitudes)


def scored_of(fixes, points):
    return [score_fix(fix, REGION, track_of(points)) for fix in fixes]


def view_of(seed=0):
    """A frame with pictures as they come of a camera: noisy, so that they compress badly."""
    rng = np.random.default_rng(seed)
    smooth = rng.integers(0, 256, (12, 16, 3)).repeat(20, 0).repeat(20, 1)
    pixels = np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
    strengths = rng.integers(0, 256, (60, 60), np.uint8)
    return FrameView(
        '', 'fix', yaw_rad=0.3, hypotheses=[(0.0, 0.0, 0.9), (40.0, 10.0, 0.1)],
        image=uri(thumbnail(pixels), 'webp'), evidence=heat(strengths, -60.0, 60.0, 2.0),
    )  # fmt: skip


# --- severity ----------------------------------------------------------------------------------


def test_a_frame_is_as_bad_as_its_truth_lies_outside_its_ellipses():
    """Of a round normal distribution the 90 % ellipse has 2.146 sigma, the 99 % one 3.035."""
    truth = [(0, 0)]
    for off_m, expected in ((0.0, ''), (10.0, ''), (12.0, 'outside'), (16.0, 'wrong')):
        assert severity(scored_of([fix_at(off_m, 0, 0)], truth)[0]) == expected
    assert severity(scored_of([fix_at(99, 0, 0, status='no_fix')], truth)[0]) == 'no_fix'
    assert severity(scored_of([ReplayedFix(0, 'error', 'torn')], truth)[0]) == 'error'
    assert severity(score_fix(fix_at(99, 0, 0), REGION)) == ''


def test_what_failed_comes_worst_first():
    frames = [
        FrameView('0', 'no_fix', severity='no_fix', error_m=900.0),
        FrameView('1', 'fix'),
        FrameView('2', 'fix', severity='wrong', error_m=30.0),
        FrameView('3', 'fix', severity='outside', error_m=200.0),
        FrameView('4', 'fix', severity='wrong', error_m=50.0),
        FrameView('5', 'error', severity='error'),
    ]
    assert worst_first(frames) == [4, 2, 3, 5, 0]


def test_frames_know_time_distance_and_truth():
    points = [(0, 0), (30, 40), (30, 100)]
    fixes = [fix_at(3, 4, 0), fix_at(30, 40, 1), ReplayedFix(2 * SECOND_NS, 'error')]
    frames = frame_views(scored_of(fixes, points), REGION)
    assert [frame.time_s for frame in frames] == [0, 1, 2]
    assert [frame.travelled_m for frame in frames] == pytest.approx([0, 50, 110], abs=0.01)
    assert frames[0].error_m == pytest.approx(5, abs=0.01)
    assert frames[1].position == pytest.approx((30, 40), abs=0.01)
    assert frames[2].position is None and frames[2].truth == pytest.approx((30, 100), abs=0.01)


def test_the_verdict_says_how_many_and_how_far():
    points = [(0, 0), (10, 0), (20, 0)]
    fixes = [fix_at(3, 0, 0), fix_at(13, 0, 1), fix_at(99, 0, 2)]
    scored = scored_of(fixes, points)
    said = verdict(summarize(scored, REGION, track_of(points)))
    assert (
        said
        == '3 of 3 images gave a fix, half of them within 3.0 m of the truth, 1 sure and wrong.'
    )


# --- the file ----------------------------------------------------------------------------------


def data_of(text):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found[1])


def test_a_map_that_is_off_is_told_and_drawn_where_it_truly_is(map, tmp_path):
    offset = MapOffset(5.0, -3.0, 0.25 * np.eye(2), 'bag', 12)
    words, path = ReportWords('Mine', ('map m',), offset), tmp_path / 'report.html'
    picture = np.full((4, 4), 255, np.uint8)
    scored = scored_of([fix_at(5.0, 0.0, 0, picture=picture)], [(0, 0), (1, 0)])
    summary = summarize(scored, REGION, track_of([(0, 0), (1, 0)]))
    write_replay_report(path, map, scored, summary, words=words)
    found = json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(), re.S)[1])
    assert found['about'] == [
        'map m', 'map moved by +5.0 m east, -3.0 m north, +- 0.5 m, by 12 measurements (bag)',
    ]  # fmt: skip
    assert found['map']['offset_m'] == [5.0, -3.0]
    belief, half_m = found['frames'][0]['belief'], REGION.side_m / 2
    assert (belief['west_m'], belief['north_m']) == (5.0 - half_m, half_m - 3.0)
    assert ReportWords(map_offset=MapOffset.unknown(2.0)).offset_m == (0.0, 0.0)


def test_texts_cannot_leave_their_place():
    nasty = '</script><script>alert(1)</script> {{style}} <!-- & "\u2028'
    frames = [FrameView(nasty, 'no_fix', reason=nasty)]
    text = page_html(
        Page(nasty, about=[nasty], frames=frames, tables=[Table(nasty, [nasty], [[nasty]])])
    )
    assert text.count('</script>') == 3
    assert data_of(text)['frames'][0]['reason'] == nasty
    assert data_of(text)['title'] == nasty


def test_nothing_is_fetched():
    """Addresses in the page are links to read and names of languages, never sources."""
    text = page_html(Page('a'))
    assert not re.search(r'(src|href)\s*=\s*["\']?(https?:)?//', text.split('<body>')[0])
    assert 'url(images/' not in text and 'sourceMappingURL' not in text


def test_what_is_no_number_is_nothing():
    assert plain([math.nan, math.inf, np.float64(1.23456789), np.int64(3), np.array([1.5])]) == [
        None, None, 1.234568, 3, [1.5],
    ]  # fmt: skip
    assert plain({'latlon': (-41.30109191, 13.4)}) == {'latlon': (-41.30109191, 13.4)}
    json.loads(page_json(Page('a', charts=[Chart('c', 'x', 'y', [Series('s', [0], [math.nan])])])))


def test_a_heat_covers_what_its_cells_cover_and_keeps_the_peak():
    strengths = np.zeros((HEAT_PX + 3, 40), np.uint8)
    strengths[-1, -1] = 255
    made = heat(strengths, 10.0, 20.0, 0.5)
    # Two by two cells a pixel: rows and columns are rounded up to whole blocks.
    assert (made.west_m, made.north_m) == (10.0, 20.0)
    assert made.height_m == pytest.approx((HEAT_PX + 4) * 0.5) and made.width_m == pytest.approx(
        20.0
    )


def test_without_leaflet_a_page_is_refused_and_a_report_left_out(monkeypatch, tmp_path, caplog):
    monkeypatch.setitem(sys.modules, 'js_lib_leaflet', None)
    monkeypatch.setattr('justzoom_ros.report.page.find_spec', lambda name: None)
    with pytest.raises(RuntimeUnavailableError, match='pip install django-js-lib-leaflet'):
        write_page(tmp_path / 'a.html', Page('a'))
    write_report(tmp_path / 'b.html', lambda path: path.write_text('never'))
    assert list(tmp_path.iterdir()) == [] and 'b.html is left out' in caplog.text


# --- of other jobs -----------------------------------------------------------------------------


def row_of(method, recall, split='images', **more):
    radii = {f'recall_{radius}m': recall for radius in RECALL_RADII_M}
    keys = 'recall_cell', 'median_m', 'nll_nats', 'ms_per_query', 'point_recall_50m'
    keys += 'heading_median_deg', 'share_fix', 'map_megabytes', 'weights_megabytes'
    about = {'method': method, 'search': '', 'views': 1, 'split': split, 'places': 40}
    return about | radii | dict.fromkeys(keys, 0.5) | {'chance_recall_50m': 0.1} | more


def test_a_comparison_names_the_best_of_each_split_and_shows_every_row(tmp_path):
    rows = [row_of('sift', 0.2), row_of('registration', 0.75, share_fix=None), row_of('a', 0.7)]
    rows += [row_of('b', 0.4, 'val', search='exact', views=2)]
    made = {'dataset': 'photos.csv', 'protocol': 'all cells compete', 'rows': rows}
    write_compare_report(tmp_path / 'a.html', made)
    data = data_of((tmp_path / 'a.html').read_text())
    assert 'registration finds 75.0 % of 40 within 50 m' in data['verdict']
    assert 'On val, b, exact, 2 views finds 40.0 %' in data['verdict']
    assert [len(table['rows']) for table in data['tables']] == [3, 1]
    table = data['tables'][0]
    fixes = table['columns'].index('fixes')
    assert [row[fixes] for row in table['rows']] == [0.5, None, 0.5]
    assert data['map'] is None and len(data['charts']) == 2


def test_a_calibration_shows_both_curves_and_what_was_fitted(tmp_path):
    curve = np.array([0.2, 0.9]), np.array([0.5, 0.7]), np.array([3, 4])
    found = Calibration(temperature=1.7, likelihood_exponent=0.3)
    write_calibration_report(tmp_path / 'a.html', {'before': curve, 'after': curve}, found)
    data = data_of((tmp_path / 'a.html').read_text())
    names = [series['name'] for series in data['charts'][0]['series'] if series['name']]
    assert names == ['as sure as right', 'before', 'after']
    assert ['temperature', '1.7'] in data['tables'][0]['rows']


# --- size --------------------------------------------------------------------------------------


def test_pictures_of_a_long_sequence_are_thinned_but_the_worst_stay():
    view = replace(view_of(), image='x' * (PICTURE_CHARACTERS // 100), evidence=None)
    frames = [replace(view, name=str(k)) for k in range(250)]
    page = within_budget(Page('long', frames=frames, worst=[7, 8]))
    kept = [k for k, frame in enumerate(page.frames) if frame.image]
    assert kept == sorted({*range(0, 250, 3), 7, 8})
    assert 'one frame in 3' in page.note
    assert within_budget(Page('short', frames=frames[:99])).frames == frames[:99]


def test_of_very_many_frames_some_are_left_out_and_it_is_said():
    frames = [FrameView(str(k), 'fix', travelled_m=float(k)) for k in range(3 * MAX_FRAMES)]
    chart = Chart('c', 'x', 'y', [], frame_x=[frame.travelled_m for frame in frames])
    page = within_budget(Page('a', frames=frames, worst=[11, 12], charts=[chart]))
    assert len(page.frames) <= MAX_FRAMES
    assert [page.frames[k].name for k in page.worst] == ['11', '12']
    assert page.charts[0].frame_x == [frame.travelled_m for frame in page.frames]
    assert f'{len(page.frames)} of {3 * MAX_FRAMES}' in page.note


# --- in a browser ------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def thousand(map, tmp_path_factory):
    """The report of a thousand frames with a belief, some of which failed."""
    out = tmp_path_factory.mktemp('thousand')
    angles = np.linspace(0, 6, 1000)
    points = np.stack([80 * np.cos(angles), 80 * np.sin(angles)], 1)
    belief = np.random.default_rng(1).integers(0, 256, (128, 128), np.uint8)
    views = [view_of(seed) for seed in range(20)]
    fixes = [
        fix_at(*(point + 3), number, picture=belief, view=views[number % 20])
        for number, point in enumerate(points)
    ]
    fixes[500] = fix_at(-100, -100, 500, picture=belief, view=views[0])
    fixes[3] = replace(fix_at(0, 0, 3, 80.0, 'no_fix', view=views[1]), reason='ambiguous: a < b')
    track = track_of(points)
    scored = scored_of(fixes, points)
    summary = summarize(scored, REGION, track)
    write_replay_report(out / 'report.html', map, scored, summary, track)
    return out / 'report.html'


@pytest.mark.slow
@needs_browser
def test_a_page_of_a_thousand_frames_works_in_a_browser(browser, thousand):  # noqa: F811
    assert thousand.stat().st_size < 20e6
    browser.problems.clear()
    browser.requests.clear()
    browser.open(thousand.as_uri())
    ask = browser.ask
    assert 'sure and wrong' in ask("document.querySelector('#verdict').textContent")
    assert ask("document.querySelectorAll('.tile').length") == 6
    assert ask("document.querySelectorAll('#map .leaflet-image-layer').length") >= 1
    assert ask("document.querySelector('#slider').max") == '999'
    assert ask("document.querySelectorAll('#charts svg circle').length") == 1000
    failures = ask("[...document.querySelectorAll('.failure')].map((f) => f.textContent)")
    assert failures[0].startswith('Sure and wrong frame 501')
    assert 'No fix frame 4, 3.0 s: ambiguous: a < b' in failures[1]
    place = "document.querySelector('#place').textContent"
    before = ask(place)
    browser.click('#slider', 0.75)
    browser.until(f"{place} !== '{before}'")
    shown = int(ask(place).split('/')[0])
    assert 720 < shown < 780
    browser.click('#ahead')
    browser.until(f"{place} === '{shown + 1} / 1000'")
    browser.click('.failure')
    browser.until(f"{place} === '501 / 1000'")
    assert 'Sure and wrong' in ask("document.querySelector('#now').textContent")
    browser.until("document.querySelector('#belief figcaption').textContent !== ''")
    browser.click('.chart svg', 0.5)
    browser.until(f"{place} !== '501 / 1000'")
    painted = ask(
        "(() => { const c = document.querySelector('#evidence canvas'); const d = "
        "c.getContext('2d').getImageData(0, 0, c.width, c.height).data; "
        'return new Set(d).size; })()'
    )
    assert painted > 50
    assert browser.problems == []
    assert [r for r in browser.requests if not r.startswith(('data:', thousand.as_uri()))] == []


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize('width', [390, 1280])
def test_a_page_is_no_wider_than_its_window(browser, thousand, width):  # noqa: F811
    browser.open('about:blank')
    browser.open(thousand.as_uri(), width, 844, mobile=width < 500)
    assert browser.ask('document.documentElement.scrollWidth') <= width
    smallest = (
        "Math.min(...[...document.querySelectorAll('#player button')].map((b) => b.clientHeight))"
    )
    assert browser.ask(smallest) >= 30
    # Words of a table stay whole: its headings are a few lines high, not a letter wide.
    tallest = (
        "Math.max(...[...document.querySelectorAll('.sheet th')].map((cell) => cell.clientHeight))"
    )
    assert 0 < browser.ask(tallest) < 90


@pytest.mark.slow
@needs_browser
def test_playing_goes_on_and_stops(browser, thousand):  # noqa: F811
    browser.open('about:blank')
    browser.open(f'{thousand.as_uri()}#frame=10')
    place = "document.querySelector('#place').textContent"
    assert browser.ask(place) == '10 / 1000'
    browser.click('#play')
    browser.until(f"{place} === '12 / 1000'")
    browser.click('#play')
    stopped = browser.ask(place)
    browser.ask('new Promise((done) => setTimeout(done, 600))')
    assert browser.ask(place) == stopped
