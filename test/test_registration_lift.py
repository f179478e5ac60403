"""The lift against rays, against the downward camera of the training views, and against averages
by hand."""

from math import cos, radians, sin, tan

import numpy as np
import pytest
from quick import quick_first

from justzoom_ros.errors import ConfigError, ImageError
from justzoom_ros.maps.nadir_camera import NadirPose, image_to_ground, look_down
from justzoom_ros.registration.attitude import Attitude
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.lift import lift

FOV = 1.2
SIDE_M, MAP_PX = 200.0, 400
LANDMARKS = [(-31.0, 22.5), (14.2, 37.1), (40.3, -25.9), (-12.4, -18.6), (9.3, 5.8)]
"""East and north, metres."""


def landmark_map(east_m, north_m, sigma_m=1.5):
    """A square of ground, uint8 (n, n, 3), with one bright spot."""
    metres = SIDE_M / MAP_PX
    axis = (np.arange(MAP_PX) + 0.5) * metres - SIDE_M / 2
    squared = (axis - east_m) ** 2 + (-axis[:, None] - north_m) ** 2
    spot = 255 * np.exp(-squared / (2 * sigma_m**2))
    return np.repeat(np.rint(spot).astype(np.uint8)[..., None], 3, 2)


def spot_m(view):
    """Metres right and ahead of the camera of the spot in a `LiftedView`."""
    values = view.pixels[..., 0].astype(float)
    rows, columns = np.arange(values.shape[0]) + 0.5, np.arange(values.shape[1]) + 0.5
    row, column = values.sum(1) @ rows / values.sum(), values.sum(0) @ columns / values.sum()
    right, ahead = column - view.origin_px[1], view.origin_px[0] - row
    return np.array([right, ahead]) * view.metres_per_px


def to_level(pose, east_m, north_m):
    """Metres right and ahead of a camera, of a point of the ground."""
    east, north = east_m - pose.east_m, north_m - pose.north_m
    c, s = cos(pose.yaw_rad), sin(pose.yaw_rad)
    return np.array([east * s - north * c, east * c + north * s])


@pytest.mark.parametrize('yaw_deg', quick_first(2, [0, 233, 30, 45, 90]))
@pytest.mark.parametrize('tilt', [(0.0, 0.0), (0.12, -0.07), (-0.3, 0.2)])
@pytest.mark.parametrize('size_px', [(240, 180), (301, 251)])
def test_a_landmark_is_lifted_to_where_it_is(yaw_deg, tilt, size_px):
    pose = NadirPose(3.7, -4.9, radians(yaw_deg), 150.0, *tilt)
    height_m = pose.footprint_m / 2 / tan(FOV / 2)
    camera = Camera.from_fov(FOV).with_height(height_m)
    found = 0
    for landmark in LANDMARKS:
        image = look_down(landmark_map(*landmark), SIDE_M, pose, size_px, FOV)
        if image.max() < 200 or not well_inside(pose, size_px, landmark):
            continue
        view = lift(image, camera, Attitude(*tilt), metres_per_px=1.0)
        np.testing.assert_allclose(spot_m(view), to_level(pose, *landmark), atol=0.25)
        found += 1
    assert found >= 2


def well_inside(pose, size_px, landmark, margin=12):
    column, row, w = np.linalg.inv(image_to_ground(pose, size_px, FOV)) @ [*landmark, 1]
    column, row = column / w, row / w
    inside = margin < column < size_px[0] - margin and margin < row < size_px[1] - margin
    return w > 0 and inside


@pytest.mark.parametrize('size_px', [(100, 80), (101, 81), (160, 90), (97, 120)])
def test_a_level_view_covers_its_footprint_round_the_camera(size_px):
    width, height = size_px
    camera = Camera.from_footprint(60, 90)
    image = np.full((height, width, 3), 100, np.uint8)
    view = lift(image, camera, height_m=75.0, metres_per_px=0.5)
    across, down = 75.0, 75.0 * height / width
    rows, columns = view.mask.shape
    assert rows % 2 == 0 and columns % 2 == 0
    # What is seen is all but a rim of less than a pixel.
    assert view.mask.any(0).sum() == pytest.approx(across / 0.5, abs=1.01)
    assert view.mask.any(1).sum() == pytest.approx(down / 0.5, abs=1.01)
    seen = np.argwhere(view.mask) + 0.5
    np.testing.assert_allclose(seen.mean(0), view.origin_px, atol=1e-9)
    assert (view.pixels[view.mask] == 100).all() and not view.pixels[~view.mask].any()
    # The camera is over the middle of a square of two pixels, the cell of an encoder.
    assert [at % 2 for at in view.origin_px] == [1.0, 1.0]


def test_what_is_finer_than_the_ground_resolution_is_averaged():
    """A checkerboard of single pixels, four to a metre, is grey from above, not a pattern."""
    checks = (np.indices((240, 320)).sum(0) % 2 * 255).astype(np.uint8)
    image = np.repeat(checks[..., None], 3, 2)
    view = lift(image, Camera.from_footprint(80, 80), height_m=80.0, metres_per_px=1.0)
    inner = view.pixels[4:-4, 4:-4].astype(int)
    assert np.abs(inner - 127.5).max() <= 2
    tilted = lift(
        image, Camera.from_fov(1.2).with_height(35), Attitude(radians(35)), metres_per_px=1.0
    )
    # Where a pixel is larger in one direction than in the other, a tenth of the contrast is left.
    rest = tilted.pixels[tilted.mask].astype(int) - 127.5
    assert np.sqrt((rest**2).mean()) <= 12


def test_steps_of_the_ground_come_out_as_area_averages():
    image = np.zeros((120, 160, 3), np.uint8)
    image[:, 80:] = 200
    view = lift(image, Camera.from_footprint(40, 40), height_m=40.0, metres_per_px=1.0)
    row = view.pixels[view.pixels.shape[0] // 2, :, 0]
    # The step is on the line below the camera, which is a border between pixels of the view.
    middle = int(view.origin_px[1])
    assert view.origin_px[1] == middle
    np.testing.assert_allclose(row[middle - 2 : middle + 2], [0, 0, 200, 200], atol=12)


@pytest.mark.parametrize('pitch_deg, roll_deg', [(0, 0), (20, 0), (-15, 10), (55, -20)])
def test_the_mask_is_where_rays_through_the_image_meet_the_ground(pitch_deg, roll_deg):
    attitude = Attitude(radians(pitch_deg), radians(roll_deg))
    camera = Camera.from_fov(1.0).with_height(50)
    image = np.full((90, 120, 3), 50, np.uint8)
    view = lift(image, camera, attitude, metres_per_px=1.0, max_side_m=400)
    focal = 60 / tan(0.5)
    cp, sp, cr, sr = cos(attitude.pitch_rad), sin(attitude.pitch_rad), *rolls(attitude)
    # Axes of the camera in right, ahead, up: rolled about the image's up axis, then pitched.
    forward = np.array([sr, sp * cr, -cp * cr])
    right = np.array([cr, -sp * sr, cp * sr])
    up = np.cross(right, forward)
    for r, c in np.ndindex(view.mask.shape):
        ground = [c + 0.5 - view.origin_px[1], view.origin_px[0] - r - 0.5, -50]
        x, y, z = right @ ground, up @ ground, forward @ ground
        off_nadir = np.degrees(np.arctan2(np.hypot(*ground[:2]), 50))
        margin = min(60 - focal * abs(x / z), 45 - focal * abs(y / z)) if z > 0 else -1
        if off_nadir > 70.5 or margin < -0.6:
            assert not view.mask[r, c]
        elif off_nadir < 69.5 and margin > 2.5:
            assert view.mask[r, c]


def rolls(attitude):
    return cos(attitude.roll_rad), sin(attitude.roll_rad)


def test_oblique_views_end_at_seventy_degrees_and_at_the_greatest_side():
    camera = Camera.from_fov(1.0).with_height(40)
    image = np.full((120, 160, 3), 50, np.uint8)
    view = lift(image, camera, Attitude(radians(65)), metres_per_px=1.0, max_side_m=1000)
    ahead = view.origin_px[0] - np.argwhere(view.mask)[:, 0].min()
    assert ahead == pytest.approx(40 * tan(radians(70)), abs=2)
    near = lift(image, camera, Attitude(radians(65)), metres_per_px=1.0, max_side_m=40)
    assert max(near.mask.shape) <= 40
    # What is kept is what is nearest to the camera, which itself lies below the view.
    first_m = 40 * tan(radians(65) - np.arctan(tan(0.5) * 120 / 160))
    last = np.argwhere(near.mask)[:, 0].max() + 1
    assert near.origin_px[0] - last == pytest.approx(first_m, abs=2)


def test_a_high_level_view_is_cut_to_what_is_below():
    image = np.full((100, 100, 3), 50, np.uint8)
    view = lift(image, Camera.from_footprint(900, 900), height_m=900.0, max_side_m=200)
    assert view.mask.shape == (200, 200) and view.mask.all()
    np.testing.assert_allclose(view.origin_px, (100, 100), atol=1.01)


def test_intrinsics_off_the_middle_shift_the_view():
    k = [100.0, 0, 59.5, 0, 100.0, 39.5, 0, 0, 1]
    camera = Camera.from_intrinsics(k, (100, 80)).with_height(50)
    view = lift(np.full((80, 100, 3), 9, np.uint8), camera, metres_per_px=1.0)
    seen = np.argwhere(view.mask)[:, 1]
    # 60 columns left of the optical axis and 40 right of it, half a metre each.
    assert view.origin_px[1] - seen.min() == pytest.approx(30, abs=1)
    assert seen.max() + 1 - view.origin_px[1] == pytest.approx(20, abs=1)


@pytest.mark.parametrize(
    'change, error, message',
    [
        (dict(image_rgb=np.zeros((50, 60), np.uint8)), ImageError, 'uint8'),
        (dict(image_rgb=np.zeros((50, 60, 3), np.float32)), ImageError, 'uint8'),
        (dict(image_rgb=np.zeros((50, 60, 4), np.uint8)), ImageError, r'\(50, 60, 4\)'),
        (dict(height_m=None), ConfigError, 'height'),
        (dict(height_m=-5.0), ConfigError, 'positive'),
        (
            dict(camera=Camera.from_footprint(5, 9), attitude=Attitude(0.1)),
            ConfigError,
            'lens|field of view',
        ),
        (
            dict(camera=Camera.from_fov(0.2), attitude=Attitude(radians(85))),
            ImageError,
            'no ground',
        ),
    ],
)
def test_what_cannot_be_lifted_is_refused(change, error, message):
    good = dict(
        image_rgb=np.zeros((50, 60, 3), np.uint8), camera=Camera.from_fov(1.0), height_m=50.0
    )
    with pytest.raises(error, match=message):
        lift(**(good | change))
