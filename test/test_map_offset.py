"""The offset of a map: its file, what becomes of a fix, and how it is found."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import make_map, make_weights

from justzoom_ros import Localizer, Region
from justzoom_ros.errors import MapError
from justzoom_ros.evaluation.evaluate import score
from justzoom_ros.evaluation.replay import replayed_fix
from justzoom_ros.filtering.offset_filter import OffsetConfig, OffsetFilter, estimate_offset
from justzoom_ros.inference.fix import FixCriteria, FixStatus, add_offset, make_fix
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.live.fix_view import fix_view, with_belief
from justzoom_ros.live.map_alignment import MapAlignment
from justzoom_ros.maps.map_offset import OFFSET_NAME, MapOffset, read_offset, write_offset
from justzoom_ros.tracker import Tracker

REGION = Region(latitude=48.0, longitude=11.0, side_m=640.0, grid=4, depth=3)
CELLS = REGION.branching**REGION.depth
KNOWN = MapOffset(5.0, -3.0, np.array([[1.0, 0.2], [0.2, 0.5]]), 'bag', 12)


# --- its file ------------------------------------------------------------------------------------


def test_an_offset_is_read_as_it_was_written(tmp_path):
    assert read_offset(tmp_path, 'this') is None
    write_offset(tmp_path, 'this', KNOWN)
    found = read_offset(tmp_path, 'this')
    assert (found.east_m, found.north_m, found.source, found.samples) == (5.0, -3.0, 'bag', 12)
    np.testing.assert_array_equal(found.covariance_m2, KNOWN.covariance_m2)
    assert found.known and not MapOffset.unknown(3.0).known
    assert MapOffset.unknown(3.0).std_m == pytest.approx(3.0)


def test_an_offset_of_other_imagery_is_refused(tmp_path):
    write_offset(tmp_path, 'that', KNOWN)
    with pytest.raises(MapError, match='of other imagery'):
        read_offset(tmp_path, 'this')


@pytest.mark.parametrize(
    'changes',
    [
        {'format': 0},
        {'east_m': None},
        {'north_m': float('nan')},
        {'covariance_m2': [[1.0, 3.0], [3.0, 1.0]]},
        {'covariance_m2': [1.0, 2.0]},
    ],
)
def test_a_damaged_offset_is_an_error_that_says_what_to_do(tmp_path, changes):
    write_offset(tmp_path, 'this', KNOWN)
    path = tmp_path / OFFSET_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(MapError, match='justzoom map align'):
        read_offset(tmp_path, 'this')


# --- what becomes of a fix -----------------------------------------------------------------------


def sharp_fix(center_m=(40.0, 60.0)):
    offset = REGION.centers(REGION.depth) - center_m
    masses = np.exp(-(offset**2).sum(1) / (2 * 8.0**2))
    levels = np.full(CELLS, REGION.depth)
    return make_fix(CellPosterior(REGION, levels, np.arange(CELLS), masses / masses.sum()))


def test_a_fix_moves_by_the_offset_and_takes_its_covariance():
    fix = sharp_fix()
    moved = add_offset(fix, REGION, KNOWN)
    assert (moved.east_m - fix.east_m, moved.north_m - fix.north_m) == pytest.approx((5.0, -3.0))
    assert REGION.to_enu(moved.latitude, moved.longitude) == pytest.approx(
        (fix.east_m + 5.0, fix.north_m - 3.0), abs=1e-6
    )
    np.testing.assert_allclose(moved.covariance_m2, fix.covariance_m2 + KNOWN.covariance_m2)
    first, was = moved.hypotheses[0], fix.hypotheses[0]
    assert (first.east_m, first.north_m) == pytest.approx((was.east_m + 5.0, was.north_m - 3.0))
    assert moved.map_offset_m == (5.0, -3.0) and moved.posterior is fix.posterior
    assert add_offset(fix, REGION, MapOffset()) is fix


def test_a_floor_that_makes_a_fix_too_wide_makes_it_none():
    fix = sharp_fix()
    assert fix.status is FixStatus.FIX
    wide = add_offset(fix, REGION, MapOffset.unknown(20.0), FixCriteria(max_radius_m=40.0))
    assert wide.status is FixStatus.NO_FIX and 'too wide' in wide.reason


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('offset')
    map = make_map(folder)
    return map, make_weights(folder, map)


def test_the_localizer_and_the_tracker_apply_what_lies_in_the_maps_folder(files):
    map, weights = files

    def open(**options):
        return Localizer.open(map, weights, registration=False, progress=False, **options)

    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    plain = open().locate(image)
    floor = open(map_offset_std_m=4.0).locate(image)
    np.testing.assert_allclose(floor.covariance_m2, plain.covariance_m2 + 16.0 * np.eye(2))
    write_offset(map.path, map.checksum, KNOWN)
    try:
        moved, unmoved = open(map_offset_std_m=4.0), open(map_offset=False)
    finally:
        (map.path / OFFSET_NAME).unlink()
    fix = moved.locate(image)
    assert (fix.east_m - plain.east_m, fix.north_m - plain.north_m) == pytest.approx((5.0, -3.0))
    np.testing.assert_allclose(fix.covariance_m2, plain.covariance_m2 + KNOWN.covariance_m2)
    assert unmoved.locate(image).map_offset_m == (0.0, 0.0)
    tracker = Tracker(moved)
    latitude, longitude = map.region.to_latlon(20.0, 10.0)
    tracker.start_near(latitude, longitude, 25.0 * np.eye(2))
    assert tracker.fix_on_map().east_m == pytest.approx(15.0, abs=1.0)
    assert tracker.fix().east_m == pytest.approx(20.0, abs=1.0)


def image_at(east_m, north_m):
    latitude, longitude = REGION.to_latlon(east_m, north_m)
    return GeoImage('here', Path('here.jpg'), latitude, longitude, None, 'here')


def test_an_evaluation_is_of_true_positions_and_of_the_cells_that_show_them():
    """The same posterior over a map that is off, and a truth that lies as much further."""
    fix, truth_m = sharp_fix(), (43.0, 58.0)
    moved = add_offset(fix, REGION, KNOWN)
    plain = score(image_at(*truth_m), fix, REGION)
    found = score(image_at(truth_m[0] + 5.0, truth_m[1] - 3.0), moved, REGION)
    assert found.guess_error_m == pytest.approx(plain.guess_error_m, abs=1e-6)
    assert (found.cell_hit, found.fix_cell_hit) == (plain.cell_hit, plain.fix_cell_hit)
    assert found.truth_mass == pytest.approx(plain.truth_mass) and found.held == plain.held
    assert found.mass_near == pytest.approx(plain.mass_near)
    np.testing.assert_allclose(found.guess_m - plain.guess_m, (5.0, -3.0))
    np.testing.assert_allclose(found.point_m - plain.point_m, (5.0, -3.0), atol=1e-9)
    near = replayed_fix(moved, 0, REGION.to_latlon(truth_m[0] + 5.0, truth_m[1] - 3.0)).mass_near
    assert near == pytest.approx(replayed_fix(fix, 0, REGION.to_latlon(*truth_m)).mass_near)


def test_what_a_page_shows_of_a_posterior_lies_where_the_map_truly_is():
    fix = sharp_fix()
    views = (fix, add_offset(fix, REGION, KNOWN))
    plain, moved = (with_belief(fix_view('1', f, None, None), f, REGION).belief for f in views)
    assert (moved.west_m - plain.west_m, moved.north_m - plain.north_m) == (5.0, -3.0)
    assert moved.uri == plain.uri


# --- how it is found -----------------------------------------------------------------------------

LENGTH_M, STEP_M = 20.0, 5.0
SHIFT_M = np.array([4.0, -5.5])  # 6.8 m


def flown(rng, frames, std_m=1.5, gnss_std_m=0.1, outliers=0.0):
    """Pairs of a straight way whose fixes have errors that die away over `LENGTH_M` (AR(1))."""
    keep = np.exp(-STEP_M / LENGTH_M)
    error, pairs = rng.normal(0, std_m, 2), []
    for number in range(frames):
        error = keep * error + np.sqrt(1 - keep**2) * rng.normal(0, std_m, 2)
        truth = np.array([STEP_M * number, 10.0])
        far = rng.normal(0, 60.0, 2) if rng.uniform() < outliers else 0.0
        place = truth - SHIFT_M + error + far
        gnss = truth + rng.normal(0, gnss_std_m, 2)
        pairs.append((place, std_m**2 * np.eye(2), gnss, gnss_std_m**2 * np.eye(2)))
    return pairs


@pytest.mark.slow
def test_200_m_with_a_trusted_receiver_find_seven_metres_to_one():
    rng = np.random.default_rng(5)
    errors, squared = [], []
    for _ in range(200):
        offset, fitting = estimate_offset(flown(rng, 41), 'gnss')
        off = offset.mean_m - SHIFT_M
        errors.append(np.hypot(*off))
        squared.append(off @ np.linalg.solve(offset.covariance_m2, off) / 2)
        assert fitting >= 38
    assert np.mean(np.array(errors) < 1.5) > 0.9 and np.median(errors) < 1.0
    assert 0.7 < np.mean(squared) < 1.3  # the covariance is true


def test_false_fixes_among_the_pairs_do_no_harm():
    rng = np.random.default_rng(6)
    for _ in range(20):
        pairs = flown(rng, 41, outliers=0.2)
        wrong = (pairs[0][0] + 90.0, *pairs[0][1:])
        offset, fitting = estimate_offset([wrong, *pairs[1:]], 'bag')
        assert np.hypot(*(offset.mean_m - SHIFT_M)) < 2.5
        assert fitting < 41


def test_a_robot_that_stands_learns_once():
    found = OffsetFilter(OffsetConfig(prior_std_m=10.0))
    pair = flown(np.random.default_rng(1), 1)[0]
    for _ in range(100):
        assert found.add(*pair)
    assert found.samples == 1
    assert found.covariance_m2[0, 0] == pytest.approx(1 / (1 / 100 + 1 / 1.5**2))


def test_the_receivers_own_error_is_not_averaged_away():
    pairs = flown(np.random.default_rng(2), 400, gnss_std_m=3.0)
    offset, _ = estimate_offset(pairs, 'gnss')
    assert offset.std_m > 3.0


def test_nothing_is_known_of_no_pairs():
    offset, fitting = estimate_offset([], 'bag')
    assert (offset.samples, fitting) == (0, 0) and offset.std_m == pytest.approx(10.0)


# --- beside a receiver, in the node --------------------------------------------------------------

SECOND = 1_000_000_000


def position(stamp_ns, place_m, std_m=0.1, status=0):
    """A `sensor_msgs/NavSatFix` at a place."""
    latitude, longitude = REGION.to_latlon(*place_m)
    covariance = np.diag([std_m**2, std_m**2, 1.0]).ravel().tolist()
    stamp = SimpleNamespace(sec=stamp_ns // SECOND, nanosec=stamp_ns % SECOND)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp),
        status=SimpleNamespace(status=status),
        latitude=latitude,
        longitude=longitude,
        position_covariance=covariance,
        position_covariance_type=2,
    )


def aligned(folder, std_m=0.1, frames=41, told=None, late_s=0.3, status=0):
    """The alignment after a flight of frames once a second and a receiver at 5 Hz."""
    map = SimpleNamespace(path=folder, checksum='this')
    localizer = SimpleNamespace(region=REGION, map_offset=MapOffset(), map=map)
    alignment = MapAlignment(localizer, [].append if told is None else told.append)
    rng = np.random.default_rng(7)
    pairs = flown(rng, frames)
    start = np.array([-150.0, 0.0])
    for tick in range(5 * frames):
        truth = start + [STEP_M * tick / 5, 10.0]
        alignment.add_position(position(SECOND + tick * SECOND // 5, truth, std_m, status))
        frame = tick / 5 - late_s
        if abs(frame - round(frame)) < 0.1 and 0 <= round(frame) < frames:
            place, covariance, *_ = pairs[round(frame)]
            fix = SimpleNamespace(
                status=FixStatus.FIX,
                east_m=start[0] + place[0],
                north_m=start[1] + place[1],
                covariance_m2=covariance,
            )
            alignment.add_fix(fix, SECOND + round(frame) * SECOND)
    return alignment


def test_a_node_beside_a_receiver_learns_the_offset_and_keeps_it(tmp_path):
    told = []
    alignment = aligned(tmp_path, told=told)
    offset = alignment.localizer.map_offset
    assert offset.known and np.hypot(*(offset.mean_m - SHIFT_M)) < 1.5
    assert offset.std_m < 0.8
    kept = read_offset(tmp_path, 'this')
    assert np.hypot(*(kept.mean_m - SHIFT_M)) < 1.5 and kept.source == 'gnss'
    assert all('kept in' in text for text in told) and 1 <= len(told) < 10


def test_a_poor_receiver_teaches_nothing(tmp_path):
    alignment = aligned(tmp_path, std_m=5.0)
    assert not alignment.localizer.map_offset.known and read_offset(tmp_path, 'this') is None
    told = []
    assert aligned(tmp_path, status=-1, told=told).filter.samples == 0
    assert told == ['gnss has STATUS_NO_FIX; publish a position']


def test_an_offset_that_cannot_be_kept_is_applied_all_the_same(tmp_path):
    (tmp_path / 'file').write_text('')
    told = []
    alignment = aligned(tmp_path / 'file', told=told)
    assert alignment.localizer.map_offset.known
    assert len(told) == 1 and 'not kept' in told[0]
