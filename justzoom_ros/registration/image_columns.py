"""What the columns of an image's row say of how it was taken.

`altitude`, height above ground in metres; `fov_deg`, horizontal field of view, or better `fx_px`,
`fy_px`, `cx_px`, `cy_px` of pictures of `width_px` and `height_px`; `heading_deg`, where the top
of the picture points, clockwise from north; of a camera that looks ahead `pitch_deg`, upwards,
and `roll_deg`, clockwise as it sees. Any may be empty.
"""

import math
from dataclasses import replace

from justzoom_ros.errors import ConfigError, DatasetError
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.registration.camera import Camera, Intrinsics
from justzoom_ros.registration.camera_state import HEIGHT_SHARE
from justzoom_ros.registration.forward_lift import Tilt

LENS_COLUMNS = ('fx_px', 'fy_px', 'cx_px', 'cy_px', 'width_px', 'height_px')


def camera_of(
    image: GeoImage, default: Camera | None = None, height_std_m: float | None = None
) -> Camera | None:
    """The `Camera` of an image: `default` with the image's own lens and height above ground where
    it has the columns for that. `height_std_m`: deviation of that height, a tenth
    of it unless given. None where the scale of the picture does not follow from all this.

    Raises DatasetError, naming the row, for a column that is no number or out of range.
    """
    fov_deg, height_m = number_of(image, 'fov_deg'), number_of(image, 'altitude')
    lens = [number_of(image, column) for column in LENS_COLUMNS]
    try:
        camera = default or Camera()
        if None not in lens:
            fx, fy, cx, cy, *size_px = lens
            own = Intrinsics(fx, fy, cx, cy, *map(int, size_px))  # type: ignore[arg-type]
            camera = replace(camera, intrinsics=own, fov_rad=None)
        elif fov_deg is not None:
            camera = replace(camera, intrinsics=None, fov_rad=math.radians(fov_deg))
        if height_m is not None and camera.lens_known:
            std_m = height_m * HEIGHT_SHARE if height_std_m is None else height_std_m
            camera = camera.with_height(height_m, std_m)
    except ConfigError as error:
        raise DatasetError(f'{image.row}: {error}') from error
    return camera if has_scale(camera) else None


def has_scale(camera: Camera) -> bool:
    """True where a camera's ground width in view is known, or its height above ground and lens;
    where it looks ahead its lens is enough."""
    if camera.ahead:
        return camera.lens_known
    height_known = camera.height_m is not None or camera.height_range_m is not None
    return camera.footprint_m is not None or (height_known and camera.lens_known)


def heading_of(image: GeoImage) -> float | None:
    """Where the top of an image points by its column `heading_deg`: yaw in radians, counter-
    clockwise from east. None without. Raises DatasetError where it is no number."""
    heading_deg = number_of(image, 'heading_deg')
    return None if heading_deg is None else math.radians(90.0 - heading_deg)


def tilt_of(image: GeoImage) -> Tilt | None:
    """The tilt of a camera that looks ahead by its columns `pitch_deg` and `roll_deg`. None
    without. Raises DatasetError where one is no number or out of range."""
    pitch_deg, roll_deg = number_of(image, 'pitch_deg'), number_of(image, 'roll_deg')
    if pitch_deg is None and roll_deg is None:
        return None
    try:
        return Tilt(math.radians(pitch_deg or 0.0), math.radians(roll_deg or 0.0))
    except ConfigError as error:
        raise DatasetError(f'{image.row}: {error}') from error


def number_of(image: GeoImage, column: str) -> float | None:
    """A column of an image's row. None where it is empty or not there. Raises DatasetError where
    it is no finite number."""
    text = image.columns.get(column, '')
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DatasetError(f'{image.row}: {column} {text!r} is no number')
    return value
