"""What the node says: a `Fix` as ROS messages. No node, no time: the header is given.

All covariances are ENU, square metres, row-major, as REP-103 and `sensor_msgs/NavSatFix` ask.
"""

import math
import sys
from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid
from rclpy.time import Time
from sensor_msgs.msg import Image, NavSatFix, NavSatStatus, PointCloud2, PointField
from std_msgs.msg import Header

from justzoom_ros.errors import JustZoomError
from justzoom_ros.inference.fix import Fix, FixStatus
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.live.fix_view import evidence_grid

if TYPE_CHECKING:
    # Not for who only listens: it loads torch.
    from justzoom_ros.registration.likelihood import PoseLikelihood

HYPOTHESIS = np.dtype(
    {
        'names': [
            *('x', 'y', 'z', 'mass', 'cov_xx', 'cov_xy', 'cov_yy'),
            *('latitude', 'longitude'),
        ],
        'formats': ['<f4'] * 7 + ['<f8'] * 2,
        'offsets': [0, 4, 8, 12, 16, 20, 24, 32, 40],
        'itemsize': 48,
    }
)
"""One point of the hypotheses cloud: metres east, north and up of the region's centre, mass 0..1,
covariance in square metres, degrees. Doubles lie on multiples of eight."""

UNKNOWN_ANGLE_VARIANCE_RAD2 = math.pi**2 / 3
"""Variance of an angle that may be anything."""


def fix_message(
    fix: Fix, header: Header, altitude_m: float, altitude_std_m: float, calibrated: bool
) -> NavSatFix:
    """The `sensor_msgs/NavSatFix` of a `Fix`.

    STATUS_FIX or STATUS_NO_FIX, always set; altitude and all variances finite and positive,
    since navsat_transform takes them as they are. The covariance is KNOWN only if `calibrated`.
    Raises JustZoomError rather than publish a fix that would poison a filter.
    """
    covariance = _check_covariance(fix)
    if not (abs(fix.latitude) <= 90.0 and abs(fix.longitude) <= 180.0):
        raise JustZoomError(f'the fix at {fix.latitude}, {fix.longitude} is not on the earth')
    message = NavSatFix(header=header)
    found = fix.status == FixStatus.FIX
    message.status.status = NavSatStatus.STATUS_FIX if found else NavSatStatus.STATUS_NO_FIX
    # No satellite was used. Older distributions have no name for it.
    message.status.service = 0
    message.latitude = float(fix.latitude)
    message.longitude = float(fix.longitude)
    message.altitude = float(altitude_m)
    full = np.zeros((3, 3))
    full[:2, :2] = covariance
    full[2, 2] = altitude_std_m**2
    message.position_covariance = full.ravel().tolist()
    known, approximated = NavSatFix.COVARIANCE_TYPE_KNOWN, NavSatFix.COVARIANCE_TYPE_APPROXIMATED
    message.position_covariance_type = known if calibrated else approximated
    return message


def pose_message(
    fix: Fix, header: Header, map_frame: str, altitude_std_m: float
) -> PoseWithCovarianceStamped:
    """The `geometry_msgs/PoseWithCovarianceStamped` of a `Fix`: metres east and north of the
    region's centre in `map_frame`, height 0. The heading is that of a robot in motion, otherwise
    unknown: identity, with the variance of an angle that may be anything."""
    message = PoseWithCovarianceStamped(header=Header(stamp=header.stamp, frame_id=map_frame))
    message.pose.pose.position.x = float(fix.east_m)
    message.pose.pose.position.y = float(fix.north_m)
    message.pose.pose.orientation.w = 1.0
    full = np.diag([0.0] * 3 + [UNKNOWN_ANGLE_VARIANCE_RAD2] * 3)
    if fix.yaw_rad is not None and fix.yaw_std_rad is not None:
        message.pose.pose.orientation.w = math.cos(fix.yaw_rad / 2)
        message.pose.pose.orientation.z = math.sin(fix.yaw_rad / 2)
        full[5, 5] = min(fix.yaw_std_rad**2, UNKNOWN_ANGLE_VARIANCE_RAD2)
    full[:2, :2] = _check_covariance(fix)
    full[2, 2] = altitude_std_m**2
    message.pose.covariance = full.ravel().tolist()
    return message


def hypotheses_message(fix: Fix, header: Header, map_frame: str) -> PointCloud2:
    """The hypotheses of a `Fix` as `sensor_msgs/PointCloud2` of `HYPOTHESIS` points in
    `map_frame`, heaviest first: RViz shows them, sensor_msgs_py reads them."""
    points = np.zeros(len(fix.hypotheses), HYPOTHESIS)
    for point, hypothesis in zip(points, fix.hypotheses, strict=True):
        covariance = hypothesis.covariance_m2
        point['x'], point['y'] = hypothesis.east_m, hypothesis.north_m
        point['mass'] = hypothesis.mass
        point['cov_xx'], point['cov_xy'] = covariance[0][0], covariance[0][1]
        point['cov_yy'] = covariance[1][1]
        point['latitude'], point['longitude'] = hypothesis.latitude, hypothesis.longitude
    return PointCloud2(
        header=Header(stamp=header.stamp, frame_id=map_frame),
        height=1,
        width=len(points),
        fields=_point_fields(HYPOTHESIS),
        is_bigendian=False,
        point_step=HYPOTHESIS.itemsize,
        row_step=HYPOTHESIS.itemsize * len(points),
        data=array('B', points.tobytes()),
        is_dense=True,
    )


def belief_message(fix: Fix, header: Header, map_frame: str) -> OccupancyGrid:
    """The posterior of a `Fix` as `nav_msgs/OccupancyGrid` in `map_frame`, one cell for each
    terminal cell: 100 for the most probable, the others by the square root of their share of it,
    so that faint rivals show."""
    posterior = fix.require_posterior()
    masses, region = posterior.to_grid(), posterior.region
    shares = np.sqrt(masses / masses.max())[::-1]  # the first row of a grid is in the south
    message = OccupancyGrid(header=Header(stamp=header.stamp, frame_id=map_frame))
    message.info.map_load_time = header.stamp
    message.info.resolution = region.terminal_side_m
    message.info.height, message.info.width = shares.shape
    east_m, north_m = fix.map_offset_m
    message.info.origin.position.x = east_m - region.side_m / 2
    message.info.origin.position.y = north_m - region.side_m / 2
    message.info.origin.orientation.w = 1.0
    message.data = array('b', np.round(100 * shares).astype(np.int8).tobytes())
    return message


def likelihood_message(
    evidence: 'PoseLikelihood | CellPosterior', header: Header, map_frame: str, fix: Fix
) -> OccupancyGrid:
    """What one frame says by itself as `nav_msgs/OccupancyGrid` in `map_frame`, over the part of
    the map that was looked at: 0 to 100, see `evidence_grid`; moved as the `fix` is by the map's
    offset."""
    grid = evidence_grid(evidence)
    message = OccupancyGrid(header=Header(stamp=header.stamp, frame_id=map_frame))
    message.info.map_load_time = header.stamp
    message.info.resolution = grid.cell_m
    message.info.height, message.info.width = grid.strengths.shape
    east_m, north_m = fix.map_offset_m
    message.info.origin.position.x = grid.west_m + east_m
    message.info.origin.position.y = grid.north_m + north_m - message.info.height * grid.cell_m
    message.info.origin.orientation.w = 1.0
    percent = np.round(grid.strengths[::-1] / 2.55).astype(np.int8)
    message.data = array('b', percent.tobytes())
    return message


def picture_message(rgb: np.ndarray, header: Header) -> Image:
    """An RGB array uint8 (H, W, 3) as `sensor_msgs/Image`, rgb8."""
    height, width = rgb.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding='rgb8',
        is_bigendian=int(sys.byteorder == 'big'),
        step=3 * width,
        # An array: rclpy would check bytes one by one.
        data=array('B', rgb.tobytes()),
    )


def diagnostics_message(
    stamp: Time, name: str, level: str, text: str, values: Mapping[str, Any]
) -> DiagnosticArray:
    """One `diagnostic_msgs/DiagnosticStatus` in its array. `level`: 'ok', 'warn' or 'error';
    `values`: mapping of any printable things."""
    status = DiagnosticStatus(
        level=getattr(DiagnosticStatus, level.upper()),
        name=name,
        message=text,
        hardware_id='justzoom',
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
    return DiagnosticArray(header=Header(stamp=stamp.to_msg()), status=[status])


def _check_covariance(fix: Fix) -> np.ndarray:
    covariance = np.asarray(fix.covariance_m2, float)
    covariance = (covariance + covariance.T) / 2
    if not (np.isfinite(covariance).all() and np.linalg.eigvalsh(covariance)[0] > 0.0):
        raise JustZoomError(
            f'the covariance {covariance.tolist()} of a fix is not finite and positive'
        )
    return covariance


def _point_fields(dtype: np.dtype) -> list[PointField]:
    kinds = {'f4': PointField.FLOAT32, 'f8': PointField.FLOAT64}
    placed = {name: field[:2] for name, field in (dtype.fields or {}).items()}
    return [
        PointField(name=name, offset=offset, datatype=kinds[kind.str[1:]], count=1)
        for name, (kind, offset) in placed.items()
    ]
