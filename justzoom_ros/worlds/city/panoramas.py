"""Places seen all round: from one panorama, views of any heading and field of view are cut."""

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from justzoom_ros.io.camera_effects import encode_jpeg
from justzoom_ros.region import Region
from justzoom_ros.worlds.city.camera import Panorama
from justzoom_ros.worlds.city.light import Moment, light
from justzoom_ros.worlds.city.photo import Lens, develop
from justzoom_ros.worlds.city.render import see
from justzoom_ros.worlds.city.scene import Scene
from justzoom_ros.worlds.city.shots import Day, Photographer

QUALITY = 90


@dataclass(frozen=True)
class Spot:
    """One panorama to be taken. Its middle looks along the road as often as a picture's does."""

    id: str
    camera: Panorama
    day: Day
    moment: Moment


def panorama(photographer: Photographer, place: int) -> Spot:
    """The Spot at the `place`-th place of a Photographer, on streets and days of `train`."""
    rng = np.random.default_rng([photographer.city.seed, 24, place])
    day, moment, camera, _ = photographer.scenery(rng, 'train')
    return Spot(f'pano_{place:06d}', Panorama(camera.eye_m, camera.yaw_rad), day, moment)


def panorama_jpeg(scene: Scene, spot: Spot) -> bytes:
    """The bytes of a Spot: metered as a camera does, without a lens's faults."""
    radiance, _ = see(scene, light(spot.moment), spot.camera)
    picture = np.clip(develop(radiance, Lens()) + 0.5, 0, 255).astype(np.uint8)
    return encode_jpeg(picture, QUALITY)


def panorama_row(spot: Spot, region: Region) -> dict[str, Any]:
    """{column: value} of a Spot; `heading_deg`, clockwise from north, is that of the middle."""
    camera = spot.camera
    latitude, longitude = (round(v, 7) for v in region.to_latlon(*camera.eye_m[:2]))
    stamp = datetime.fromtimestamp(spot.moment.stamp_s, timezone.utc)
    return {
        'image_id': spot.id,
        'latitude': latitude,
        'longitude': longitude,
        'sequence': str(list(region.encode(latitude, longitude))),
        'split': 'train',
        'stamp': stamp.strftime('%Y-%m-%dT%H:%M:%SZ'),
        'heading_deg': round((90 - np.degrees(camera.yaw_rad)) % 360, 3),
        'camera_height_m': round(camera.eye_m[2], 3),
        'width_px': camera.size_px[0],
        'height_px': camera.size_px[1],
        'weather': spot.moment.weather,
    }
