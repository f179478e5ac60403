"""What RViz and Foxglove draw beside the map: hypotheses, heading, and the map itself."""

import math
from array import array

import cv2
import numpy as np
from geometry_msgs.msg import Point, Pose, Vector3
from nav_msgs.msg import OccupancyGrid
from rclpy.duration import Duration
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from justzoom_ros.inference.fix import Fix, FixStatus
from justzoom_ros.inference.posterior import CHI2_2DOF
from justzoom_ros.maps.satellite_map import SatelliteMap

LIFETIME = Duration(seconds=10).to_msg()
"""Markers of a node that has gone vanish after this."""

GREEN, ORANGE, RED = (0.1, 0.9, 0.2), (1.0, 0.6, 0.0), (0.9, 0.1, 0.1)
THICKNESS_M, ARROW_M = 0.5, 30.0
MAP_PX = 512
"""Cells along a side of the map's picture."""


def markers_message(fix: Fix, header: Header, map_frame: str) -> MarkerArray:
    """A `Fix` as `visualization_msgs/MarkerArray` in `map_frame`: the 90 % ellipse of each
    hypothesis, the more solid the more mass it has, in green for a fix and orange for none; an
    arrow of the heading, where there is one. What was drawn before is deleted."""
    here = Header(stamp=header.stamp, frame_id=map_frame)
    found = [Marker(header=here, action=Marker.DELETEALL)]
    if fix.yaw_rad is not None:
        found.append(_arrow(fix, here))
    color = GREEN if fix.status == FixStatus.FIX else ORANGE
    for number, hypothesis in enumerate(fix.hypotheses):
        marker = _ellipse(hypothesis.east_m, hypothesis.north_m, hypothesis.covariance_m2, here)
        marker.id = number
        marker.color = _color(color, 0.15 + 0.6 * hypothesis.mass)
        found.append(marker)
    return MarkerArray(markers=found)


def _ellipse(east_m: float, north_m: float, covariance_m2: np.ndarray, header: Header) -> Marker:
    squares, axes = np.linalg.eigh(covariance_m2)
    long_m, short_m = 2 * np.sqrt(CHI2_2DOF[0.9] * squares[::-1])
    yaw_rad = math.atan2(axes[1, 1], axes[0, 1])
    return Marker(
        header=header,
        ns='hypotheses',
        type=Marker.CYLINDER,
        pose=_pose(east_m, north_m, yaw_rad),
        scale=Vector3(x=float(long_m), y=float(short_m), z=THICKNESS_M),
        lifetime=LIFETIME,
    )


def _arrow(fix: Fix, header: Header) -> Marker:
    assert fix.yaw_rad is not None
    return Marker(
        header=header,
        ns='heading',
        type=Marker.ARROW,
        pose=_pose(fix.east_m, fix.north_m, fix.yaw_rad),
        scale=Vector3(x=ARROW_M, y=ARROW_M / 8, z=ARROW_M / 8),
        color=_color(RED, 1.0),
        lifetime=LIFETIME,
    )


def _pose(east_m: float, north_m: float, yaw_rad: float) -> Pose:
    pose = Pose(position=Point(x=float(east_m), y=float(north_m)))
    pose.orientation.z, pose.orientation.w = math.sin(yaw_rad / 2), math.cos(yaw_rad / 2)
    return pose


def _color(rgb: tuple[float, float, float], alpha: float) -> ColorRGBA:
    red, green, blue = rgb
    return ColorRGBA(r=red, g=green, b=blue, a=min(1.0, alpha))


def map_image_message(
    map: SatelliteMap,
    header: Header,
    map_frame: str,
    offset_m: tuple[float, float] = (0.0, 0.0),
) -> OccupancyGrid:
    """The map in grey as `nav_msgs/OccupancyGrid` in `map_frame`, MAP_PX cells along a side: dark
    ground is 100, light ground 0, as RViz's scheme `map` draws it black and white; moved by
    `offset_m`, metres east and north, to where it truly is."""
    side_px = min(MAP_PX, map.info.side_px)
    grey = cv2.cvtColor(map.crop((), side_px), cv2.COLOR_RGB2GRAY)
    cells = np.round(100 - grey[::-1].astype(float) / 2.55)  # the first row is in the south
    side_m = map.region.side_m
    message = OccupancyGrid(header=Header(stamp=header.stamp, frame_id=map_frame))
    message.info.map_load_time = header.stamp
    message.info.resolution = side_m / side_px
    message.info.width = message.info.height = side_px
    message.info.origin.position.x = offset_m[0] - side_m / 2
    message.info.origin.position.y = offset_m[1] - side_m / 2
    message.info.origin.orientation.w = 1.0
    message.data = array('b', cells.astype(np.int8).tobytes())
    return message
