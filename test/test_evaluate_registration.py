"""Evaluation of registration on views of a piece of a town, whose truth is where they were cut."""

import csv
import json
import logging

import numpy as np
import pytest
from PIL import Image
from tiny import make_weights
from town_piece import (
    FOOTPRINT_M,
    FOV_RAD,
    HEIGHT_M,
    POSES,
    make_town_map,
    take_view,
    write_flight,
)

from justzoom_ros.cli.main import main
from justzoom_ros.errors import DatasetError
from justzoom_ros.evaluation.evaluate import evaluate
from justzoom_ros.evaluation.evaluate_figures import count_reasons
from justzoom_ros.evaluation.image_camera import CameraKnowledge, common_camera
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.io.datasets import GeoImage, read_images
from justzoom_ros.localizer import Localizer
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.image_columns import camera_of, heading_of

FOV_DEG = float(np.degrees(FOV_RAD))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('town')


@pytest.fixture(scope='module')
def town(folder):
    return make_town_map(folder)


@pytest.fixture(scope='module')
def flight(folder, town):
    return write_flight(folder, town)


def image_with(**columns):
    return GeoImage('a', 'a.png', 0.0, 0.0, None, 'list.csv row 2', columns)


# --- what is known of an image -------------------------------------------------------------------


def test_columns_of_an_image_go_before_what_holds_for_all():
    default = Camera.from_fov(1.0).with_height(80.0, 4.0)
    assert camera_of(image_with(), default) == default
    assert camera_of(image_with(altitude=''), default) == default
    own = camera_of(image_with(altitude='120', fov_deg='60'), default)
    assert own.height_m == 120.0 and own.fov_rad == pytest.approx(np.pi / 3)
    assert own.height_std_m == 12.0
    assert camera_of(image_with(altitude='120'), default, 3.0).height_std_m == 3.0
    lens = camera_of(image_with(fov_deg='60'), Camera.from_footprint(90, 150))
    assert lens.footprint_m == (90, 150) and lens.fov_rad == pytest.approx(np.pi / 3)


def test_a_whole_camera_matrix_goes_before_a_field_of_view():
    lens = {'fx_px': '400', 'fy_px': '410', 'cx_px': '300', 'cy_px': '90', 'fov_deg': '60'}
    lens |= {'width_px': '640', 'height_px': '200'}
    found = camera_of(image_with(**lens), Camera(ahead=True)).intrinsics_for(640, 200)
    assert (found.fx, found.fy, found.cx, found.cy) == (400, 410, 300, 90)
    del lens['cy_px']
    assert camera_of(image_with(**lens), Camera(ahead=True)).fov_rad == pytest.approx(np.pi / 3)
    with pytest.raises(DatasetError, match='list.csv row 2: intrinsics .* no calibration'):
        camera_of(image_with(**lens | {'cy_px': '9', 'fx_px': '0'}), Camera(ahead=True))


def test_a_height_without_a_lens_and_a_lens_without_a_height_give_no_scale():
    assert camera_of(image_with()) is None
    assert camera_of(image_with(altitude='120')) is None
    assert camera_of(image_with(fov_deg='60')) is None
    assert camera_of(image_with(), Camera.from_fov(1.0)) is None
    assert camera_of(image_with(altitude='120'), Camera.from_fov(1.0)).height_m == 120.0
    assert camera_of(image_with(altitude='120'), Camera.from_footprint(9, 15)).height_m is None


@pytest.mark.parametrize(
    ('columns', 'says'),
    [
        ({'altitude': 'high', 'fov_deg': '60'}, "row 2: altitude 'high' is no number"),
        ({'altitude': 'nan', 'fov_deg': '60'}, "row 2: altitude 'nan' is no number"),
        ({'altitude': '-3', 'fov_deg': '60'}, 'row 2: height -3 m above ground must be positive'),
        ({'altitude': '30', 'fov_deg': '190'}, 'row 2: field of view'),
    ],
)
def test_columns_that_cannot_be_are_named_with_their_row(columns, says):
    with pytest.raises(DatasetError, match=says):
        camera_of(image_with(**columns))


def test_headings_are_clockwise_from_north_and_may_be_ignored():
    assert heading_of(image_with(heading_deg='90')) == pytest.approx(0.0)  # east
    assert heading_of(image_with(heading_deg='0')) == pytest.approx(np.pi / 2)  # north
    assert heading_of(image_with()) is None
    image = image_with(heading_deg='90')
    assert CameraKnowledge(yaw_rad=1.0).yaw_of(image) == pytest.approx(0.0)
    assert CameraKnowledge(yaw_rad=1.0).yaw_of(image_with()) == 1.0
    assert CameraKnowledge(yaw_rad=1.0, ignore_heading=True).yaw_of(image) is None


def test_the_common_camera_sees_what_any_of_several_may():
    low, high = Camera.from_footprint(50, 60), Camera.from_footprint(100, 150)
    found = common_camera([low, high]).footprint_m
    assert found == pytest.approx((50, 150))


# --- evaluation ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_views_of_the_map_are_found_to_a_metre_with_any_heading(town, flight):
    images = read_images(flight)
    knowledge = CameraKnowledge(height_std_m=1.0, ignore_heading=True)
    cameras = knowledge.require_cameras(images)
    localizer = Localizer.open(town, camera=common_camera(cameras), progress=False)
    results = evaluate(localizer, images, knowledge=knowledge)
    assert list(results) == ['registration']
    for result, (east_m, north_m, _) in zip(results['registration'], POSES, strict=True):
        assert result.truth_m == pytest.approx((east_m, north_m), abs=0.01)
        assert result.guess_error_m < 3.0
        assert np.degrees(result.heading_error_rad) < 5.0
        fine = localizer.locate(result.image.load(), cameras[0]).require_posterior()
        # Mass of the true cell, counted again: each fine cell's share of area inside it.
        cell = town.region.cell(town.region.encode(result.image.latitude, result.image.longitude))
        reach = (cell.side_m + fine.sides_m[:, None]) / 2
        overlap = reach - np.abs(fine.centers_m - (cell.east_m, cell.north_m))
        share = np.clip(overlap / fine.sides_m[:, None], 0, 1).prod(1)
        assert result.truth_mass == pytest.approx(fine.masses @ share, abs=1e-6)


def run(town, flight, *more):
    return main([
        'evaluate', '--map', str(town.path), '--images', str(flight), *map(str, more),
    ])  # fmt: skip


@pytest.mark.slow
def test_the_command_needs_no_weights_and_says_what_was_known(town, flight, tmp_path, capsys):
    assert run(town, flight, '-o', tmp_path, '--frames', 1, '--json', '--height-std', 1.5) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed['searches']) == ['registration']
    assert (
        'never trained on this map, heading known to 10 degrees, height known to 2 %'
        in printed['protocol']
    )
    figures = printed['searches']['registration']
    assert figures['recall_5m'] == 1.0 and figures['heading_median_deg'] < 5.0
    assert sum(figures['no_fix'].values()) == round(3 * (1 - figures['share_fix']))
    with (tmp_path / 'per_image.csv').open() as file:
        rows = list(csv.DictReader(file))
    errors = np.median([float(row['heading_error_deg']) for row in rows])
    assert errors == pytest.approx(figures['heading_median_deg'])
    with Image.open(tmp_path / 'frames.png') as picture:
        assert picture.format == 'PNG'


@pytest.mark.slow
def test_a_policy_and_a_camera_are_rows_of_both(town, flight, tmp_path, capsys):
    weights = make_weights(tmp_path, town)
    options = '--weights', weights, '--search', 'exact', '--height-std', 1
    assert run(town, flight, *options, '--ignore-heading') == 0
    lines = capsys.readouterr().out.splitlines()
    assert 'heading unknown' in lines[0]
    assert [line.split(' guess')[0] for line in lines if ' guess' in line] == [
        'exact', 'zoom, then register',
    ]  # fmt: skip


def test_a_policy_that_is_sure_of_a_wrong_place_is_overruled_by_what_is_seen(town, monkeypatch):
    camera = Camera.from_fov(FOV_RAD).with_height(HEIGHT_M)
    registrar = Localizer.open(town, camera=camera, progress=False).require_registrar()
    view = registrar.view(take_view(town, *POSES[0]), camera)
    cells = 4**2 * 4**2
    masses = np.full(cells, 1e-12)
    masses[0] = 1 - masses[1:].sum()
    sure = CellPosterior(town.region, np.full(cells, 2), np.arange(cells), masses)
    found = registrar.posterior(view, sure)
    assert found.cells.mass_within(*POSES[0][:2], 10.0) > 0.9
    # By hand: nine parts in ten as the policy says, one evenly over the map.
    weights = registrar._prior(sure)
    share = np.mean(weights > weights.mean())
    assert weights.max() / weights.min() == pytest.approx(1 + 9 / share, rel=1e-6)
    # A map that is too large to be searched whole is searched where the policy says.
    monkeypatch.setattr('justzoom_ros.registrar.WHOLE_CELLS', 10)
    assert registrar._prior(sure).min() == pytest.approx(1e-12, rel=1e-3)


def test_a_scale_that_is_not_known_is_asked_for(town, folder, capsys):
    bare = write_flight(folder, town, columns=())
    assert run(town, bare) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert 'flight.csv row 2' in error and '--footprint' in error and 'altitude' in error
    write_flight(folder, town)


@pytest.mark.slow
def test_a_view_that_is_larger_than_the_map_gives_no_fix_with_a_reason(town, folder, capsys):
    bare = write_flight(folder, town, columns=())
    assert run(town, bare, '--footprint', 2000, 2000, '--json') == 0
    figures = json.loads(capsys.readouterr().out)['searches']['registration']
    assert figures['share_fix'] == 0.0 and sum(figures['no_fix'].values()) == len(POSES)
    write_flight(folder, town)


@pytest.mark.slow
def test_a_sequence_is_followed_with_what_each_row_says(town, tmp_path, capsys):
    poses = [(east_m, 10.0, 0.0) for east_m in (-60.0, -35.0, -10.0, 15.0)]
    columns = 'altitude', 'fov_deg', 'stamp'
    flight = write_flight(tmp_path, town, columns, poses)
    assert run(town, flight, '--sequence', '--height-std', 0.5, '--json') == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary['fix'] >= 2 and summary['fix_only']['median_m'] < 3.0


def test_a_map_that_is_coarser_than_the_weights_want_is_named(town, folder, flight, capsys):
    coarse = SatelliteMap.build(
        folder / 'town.tif', town.region, folder / 'coarse', resolution_m=4.0, attribution='x'
    )
    assert run(coarse, flight) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert 'coarse' in error and '4 m per pixel' in error and 'Traceback' not in error


@pytest.mark.slow
def test_features_that_cannot_be_read_are_made_again_with_a_warning(town, flight, capsys, caplog):
    assert run(town, flight, '--height-std', 1) == 0
    for file in (town.path / 'embeddings').iterdir():
        file.write_bytes(file.read_bytes()[:500])
    with caplog.at_level(logging.WARNING):
        assert run(town, flight, '--height-std', 1) == 0
    assert 'made again' in caplog.text


def test_reasons_are_counted_without_their_figures():
    from types import SimpleNamespace

    reasons = ('', 'ambiguous: the first holds 4%', 'ambiguous: the first holds 5%', 'too wide: x')
    fixes = [SimpleNamespace(status='no_fix' if r else 'fix', reason=r) for r in reasons]
    assert count_reasons(fixes) == {'ambiguous': 2, 'too wide': 1}


def test_height_of_the_options_is_that_of_the_flight():
    assert Camera.from_fov(FOV_RAD).footprint_at(HEIGHT_M) == pytest.approx(FOOTPRINT_M)
