"""Small pictures for pages, as data: URIs."""

import base64

import cv2
import numpy as np

from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.report.content import Heat, MapView

MAP_PX = 2048
"""Side of the imagery of a page at most."""

THUMBNAIL_PX = 256
"""Width of what is kept of a camera image."""

HEAT_PX = 128
"""Side of a picture of strengths at most."""

Offset = tuple[float, float]
"""East and north, metres."""


def webp(image_rgb: np.ndarray, quality: int) -> bytes:
    """A picture, uint8 (H, W, 3) RGB, as a WebP file; quality 1 to 100."""
    bgr = np.ascontiguousarray(image_rgb[..., ::-1])
    return cv2.imencode('.webp', bgr, (cv2.IMWRITE_WEBP_QUALITY, quality))[1].tobytes()


def uri(data: bytes, kind: str) -> str:
    """The data: URI of a picture of a `kind`: 'webp' or 'png'."""
    return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'


def thumbnail(image_rgb: np.ndarray, width_px: int = THUMBNAIL_PX) -> bytes:
    """A camera image, uint8 (H, W, 3) RGB, as a small WebP file."""
    height, width = image_rgb.shape[:2]
    if width > width_px:
        size = width_px, max(1, round(height * width_px / width))
        image_rgb = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA)
    return webp(image_rgb, 55)


def map_view(
    satellite_map: SatelliteMap, px: int = MAP_PX, offset_m: Offset = (0.0, 0.0)
) -> MapView:
    """The imagery of a map that is off by `offset_m`, no finer than it is."""
    region = satellite_map.region
    picture = satellite_map.picture(min(px, len(satellite_map.pixels)))
    return MapView(
        region.side_m,
        region.latitude,
        region.longitude,
        uri(webp(picture, 70), 'webp'),
        satellite_map.attribution,
        offset_m,
    )


def heat(strengths: np.ndarray, west_m: float, north_m: float, cell_m: float) -> Heat:
    """The `Heat` of strengths uint8 (n, m) in cells of `cell_m`, row 0 in the north, from a north
    western corner; no finer than `HEAT_PX`, of each block its greatest, so that a peak stays."""
    block = max(1, -(-max(strengths.shape) // HEAT_PX))
    missing = [(0, -length % block) for length in strengths.shape]
    padded = np.pad(strengths, missing)
    rows, columns = (length // block for length in padded.shape)
    small = padded.reshape(rows, block, columns, block).max((1, 3))
    side_m = block * cell_m
    data = cv2.imencode('.png', small)[1].tobytes()
    return Heat(uri(data, 'png'), west_m, north_m, columns * side_m, rows * side_m)


def belief_heat(picture: np.ndarray, side_m: float, offset_m: Offset = (0.0, 0.0)) -> Heat:
    """The `Heat` of a belief over a whole region, uint8 (n, n), as `belief_picture` makes it, on a
    map that is off by `offset_m`."""
    west_m, north_m = offset_m[0] - side_m / 2, offset_m[1] + side_m / 2
    return heat(picture, west_m, north_m, side_m / len(picture))
