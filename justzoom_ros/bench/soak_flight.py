"""A drone that circles over the demo's town for as long as it is asked to: what its camera, its
odometry and its rangefinder say, and where it truly is."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from justzoom_ros.io.stamps import NS_PER_S
from justzoom_ros.maps.nadir_camera import NadirPose
from justzoom_ros.pose import Pose
from justzoom_ros.worlds.flight import FlightConfig, take_picture
from justzoom_ros.worlds.town import DEMO_REGION, FLIGHT_DAY, landscape

RATE_HZ = 10
RADIUS_M = 100.0
STEP_M = 0.5
"""Way from one frame to the next."""
ROUND = round(2 * math.pi * RADIUS_M / STEP_M)
"""Frames of one circle."""
FOOTPRINT_M, CLIMB_M = 115.0, 15.0
"""Ground width in view, and how far it goes up and down three times a circle."""
CAMERA = FlightConfig(size_px=(320, 240))
SCALE = 1.01
"""What the odometry takes a metre for."""

PARAMETERS: dict[str, Any] = {
    'camera_fov_deg': math.degrees(CAMERA.fov_rad),
    'height_source': 'range',
    'height_std_m': 3.0,
}
"""What the node is told of the drone."""


@dataclass(frozen=True)
class CirclingFlight:
    """Frame after frame by number, from 0; any number has a place on the circle."""

    start_ns: int
    """Stamp of frame 0, nanoseconds since 1970."""

    def stamp_ns(self, number: int) -> int:
        """When a frame is taken."""
        return self.start_ns + number * NS_PER_S // RATE_HZ

    def truth(self, number: int) -> NadirPose:
        """Where the camera is, in metres about the middle of DEMO_REGION."""
        turn = 2 * math.pi * (number % ROUND) / ROUND
        footprint_m = FOOTPRINT_M + CLIMB_M * math.sin(3 * turn)
        east_m, north_m = RADIUS_M * math.cos(turn), RADIUS_M * math.sin(turn)
        return NadirPose(east_m, north_m, turn + math.pi / 2, footprint_m)

    def odometry(self, number: int) -> Pose:
        """Where the drone believes it is since it began, in a frame of its own."""
        turn = 2 * math.pi * number / ROUND
        radius_m = SCALE * RADIUS_M
        x_m, y_m = radius_m * math.sin(turn), radius_m * (1 - math.cos(turn))
        return Pose(self.stamp_ns(number), x_m, y_m, turn)

    def height_m(self, number: int) -> float:
        """What the rangefinder says."""
        return self.truth(number).footprint_m / 2 / math.tan(CAMERA.fov_rad / 2)

    def jpeg(self, number: int) -> bytes:
        """What the camera sees; the second circle shows the pictures of the first."""
        place = number % ROUND
        if place not in self._jpegs:
            side_m, truth = DEMO_REGION.side_m, self.truth(place)
            self._jpegs[place] = take_picture(self._ground, side_m, truth, CAMERA, place)
        return self._jpegs[place]

    def take_pictures(self, count: int) -> None:
        """Those of the first `count` frames, so that taking them takes no time later."""
        for number in range(min(count, ROUND)):
            self.jpeg(number)

    def error_m(self, number: int, latitude: float, longitude: float) -> float:
        """Distance of a position from the true one."""
        truth = self.truth(number)
        east_m, north_m = DEMO_REGION.to_enu(latitude, longitude)
        return float(np.hypot(east_m - truth.east_m, north_m - truth.north_m))

    @cached_property
    def _ground(self) -> np.ndarray:
        """Photograph uint8 (n, n, 3) of the town on the day of the flight."""
        return landscape(day=FLIGHT_DAY)

    @cached_property
    def _jpegs(self) -> dict[int, bytes]:
        return {}
