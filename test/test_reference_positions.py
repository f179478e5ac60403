"""Positions of pictures told by the map itself, where they can be told beyond doubt."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from justzoom_ros import SatelliteMap
from justzoom_ros.evaluation.reference_positions import main
from justzoom_ros.maps.nadir_camera import NadirPose, look_down

DEMO = Path(__file__).resolve().parents[1] / 'maps' / 'demo'


@pytest.mark.slow
def test_positions_that_are_metres_off_are_put_right_and_doubtful_ones_left_out(tmp_path, capsys):
    satellite_map = SatelliteMap.open(DEMO)
    region = satellite_map.region
    rows = [('file', 'lat', 'lon')]
    truths = [(40.0, 60.0, 0.5), (-120.0, 90.0, 2.0)]
    for number, (east, north, yaw) in enumerate(truths):
        pose = NadirPose(east, north, yaw, 120.0)
        view = look_down(satellite_map.pixels, region.side_m, pose, (320, 240), 1.2)
        Image.fromarray(view).save(tmp_path / f'{number}.png')
        rows.append((f'{number}.png', *region.to_latlon(east + 9.0, north - 8.0)))
    Image.new('RGB', (320, 240), (90, 120, 60)).save(tmp_path / 'blank.png')
    rows.append(('blank.png', *region.to_latlon(0.0, 0.0)))
    with (tmp_path / 'frames.csv').open('w', newline='') as file:
        csv.writer(file).writerows(rows)
    out = tmp_path / 'centres.csv'
    main(['--map', str(DEMO), '--images', str(tmp_path / 'frames.csv'), '-o', str(out)])
    assert capsys.readouterr().out == f'{out}: 2 of 3 pictures placed\n'
    found = list(csv.DictReader(out.open()))
    for row, (east, north, yaw) in zip(found, truths, strict=True):
        place = region.to_enu(float(row['lat']), float(row['lon']))
        assert np.hypot(place[0] - east, place[1] - north) < 0.5
        assert float(row['heading_deg']) == pytest.approx((90 - np.degrees(yaw)) % 360, abs=1.0)
        assert float(row['moved_m']) == pytest.approx(np.hypot(9, 8), abs=0.5)
