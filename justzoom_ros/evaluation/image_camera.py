"""What is known of how an image was taken: its own columns first, then what holds for all."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from justzoom_ros.errors import DatasetError
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.camera_state import CameraState
from justzoom_ros.registration.image_columns import camera_of, heading_of, tilt_of

HOW_TO_SAY = (
    'give --footprint MIN MAX (metres of ground in view) or --height and --fov, or the columns '
    'altitude and fov_deg in the CSV'
)


@dataclass(frozen=True)
class CameraKnowledge:
    """What holds for all images of a dataset whose columns do not say otherwise."""

    camera: Camera | None = None
    """Lens and height, or ground width in view."""

    height_std_m: float | None = None
    """Standard deviation of heights from the column `altitude`; a tenth of each unless given."""

    yaw_rad: float | None = None
    """Heading of all, counter-clockwise from east."""

    yaw_std_rad: float | None = None
    """Standard deviation of headings."""

    ignore_heading: bool = False
    """Search every heading, whatever the column `heading_deg` says."""

    ignore_tilt: bool = False
    """Take cameras that look ahead for level, whatever the columns `pitch_deg` and `roll_deg`
    say."""

    def camera_of(self, image: GeoImage) -> Camera | None:
        """The `Camera` of an image; see `image_columns.camera_of`."""
        return camera_of(image, self.camera, self.height_std_m)

    def require_cameras(self, images: Sequence[GeoImage]) -> list[Camera]:
        """Those of all images. Raises DatasetError naming the first without a scale."""
        cameras = []
        for image in images:
            camera = self.camera_of(image)
            if camera is None:
                if self.camera is not None and self.camera.ahead:
                    raise DatasetError(
                        f'{image.row}: what is the lens of {image.id}? Give --fov or the column '
                        'fov_deg in the CSV'
                    )
                raise DatasetError(
                    f'{image.row}: how much ground does {image.id} show? {HOW_TO_SAY}'
                )
            cameras.append(camera)
        return cameras

    def yaw_of(self, image: GeoImage) -> float | None:
        """The heading that the search may know of an image."""
        if self.ignore_heading:
            return None
        own = heading_of(image)
        return self.yaw_rad if own is None else own

    def state_of(self, image: GeoImage) -> CameraState:
        """All that is known of an image's camera. Raises DatasetError naming the row."""
        camera = self.camera_of(image)
        ahead = camera is not None and camera.ahead and not self.ignore_tilt
        tilt = tilt_of(image) if ahead else None
        return CameraState(
            camera, yaw_rad=self.yaw_of(image), yaw_std_rad=self.yaw_std_rad, tilt=tilt
        )

    def describe(self, images: Sequence[GeoImage]) -> str:
        """What the search knows of the images, for the protocol of a table."""
        known = sum(self.yaw_of(image) is not None for image in images)
        headings = 'heading unknown'
        if known:
            share = '' if known == len(images) else f' of {known} images'
            std_deg = math.degrees(self.yaw_std_rad or 0.0)
            headings = f'heading{share} known to {std_deg:.0f} degrees'
        return f'{headings}, {_describe_scale(self.require_cameras(images))}'


def common_camera(cameras: Sequence[Camera]) -> Camera:
    """A `Camera` whose ground width in view is that of any of some cameras: decides how finely a
    map is looked at; one that looks ahead where they do. Raises ConfigError for one without a
    scale."""
    if cameras and cameras[0].ahead:
        return cameras[0]
    low_m, high_m = _footprints(cameras).T
    return Camera.from_footprint(low_m.min(), high_m.max())


def _footprints(cameras: Sequence[Camera]) -> np.ndarray:
    """Least and greatest ground width in view (N, 2), metres."""
    heights_m = [(camera, camera.height_bounds()) for camera in cameras]
    return np.array(
        [[c.footprint_at(low_m), c.footprint_at(high_m)] for c, (low_m, high_m) in heights_m]
    )


def _describe_scale(cameras: Sequence[Camera]) -> str:
    if cameras and cameras[0].ahead:
        return 'lens known'
    heights = [(c.height_m, c.height_std_m) for c in cameras if c.height_m is not None]
    if len(heights) == len(cameras):
        share = max(std_m / height_m for height_m, std_m in heights)
        return f'height known to {100 * share:.0f} %' if share > 0 else 'height known'
    low_m, high_m = _footprints(cameras).T
    return f'ground width in view known to lie in {low_m.min():.0f} to {high_m.max():.0f} m'
