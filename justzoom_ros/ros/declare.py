"""The parameters of live/parameters.py on a node: declared, checked, read."""

import math
from difflib import get_close_matches
from functools import partial
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from justzoom_ros.inference.fix import FixCriteria
from justzoom_ros.live.camera_config import CameraConfig, footprint_of
from justzoom_ros.live.config_parameters import START, Parameter, config_from
from justzoom_ros.live.parameters import RENAMED, TRACKER, all_parameters, problem
from justzoom_ros.registration.attitude import Attitude
from justzoom_ros.registration.forward_lift import AHEAD_RAD, Tilt
from justzoom_ros.tracker import TrackerConfig


def declare(node: Node) -> None:
    """Declare all parameters, with values from the node's command line and files; those under a
    former name are taken, with a warning.

    Raises rclpy's parameter exceptions where one of those has the wrong type or is out of range.
    """
    former = {new: _former_value(node, old, new) for old, new in RENAMED.items()}
    for name, parameter in all_parameters().items():
        given = former.get(name)
        default = parameter.default if given is None else given
        node.declare_parameter(name, default, _descriptor(parameter))
    _warn_of_unknown(node)


def _warn_of_unknown(node: Node) -> None:
    """Tell what a file or the command line gives that is no parameter of the node: ROS itself
    passes over it without a word."""
    # The only place where rclpy keeps them.
    given = getattr(node, '_parameter_overrides', {})
    for name in sorted(set(given) - set(all_parameters()) - set(RENAMED)):
        if node.has_parameter(name) or name.startswith('qos_overrides.'):
            continue
        near = get_close_matches(name, all_parameters(), 1)
        hint = f'; is {near[0]} meant?' if near else ''
        node.get_logger().warning(f'{name} is no parameter of this node{hint}')


def _former_value(node: Node, old: str, new: str) -> Any:
    """What was given for a parameter under its former name, None where nothing was."""
    anything = ParameterDescriptor(dynamic_typing=True)
    value = node.declare_parameter(old, None, anything).value
    node.undeclare_parameter(old)
    if value is not None:
        node.get_logger().warning(f'parameter {old} is {new} now; it will not be read for long')
    return value


def value_of(node: Node, name: str) -> Any:
    """The value that a declared parameter has now."""
    return node.get_parameter(name).value


def tracker_config(node: Node) -> TrackerConfig:
    """The `TrackerConfig` of the parameters. Raises ConfigError."""
    return config_from(TrackerConfig(), TRACKER, lambda name: value_of(node, name))


def camera_config(node: Node) -> CameraConfig:
    """The `CameraConfig` of the parameters. Raises ConfigError."""
    value = partial(value_of, node)
    heading_deg = value('heading_deg')
    return CameraConfig(
        fov_rad=math.radians(value('camera_fov_deg')) or None,
        footprint_m=footprint_of(value('footprint_m')),
        height_m=value('height_m') or None,
        height_std_m=value('height_std_m') or None,
        lens_source=value('lens_source'),
        undistorted=value('undistort'),
        height_source=value('height_source'),
        ground_altitude_m=value('ground_altitude_m'),
        attitude_source=value('attitude_source'),
        **_mount(*(math.radians(value(f'camera_{n}_deg')) for n in ('pitch', 'roll'))),
        mount_yaw_rad=math.radians(value('camera_yaw_deg')),
        imu_yaw=value('imu_yaw'),
        yaw_rad=None if heading_deg < 0 else math.radians(90.0 - heading_deg),
        yaw_std_rad=math.radians(value('heading_std_deg')),
        slop_s=value('sample_slop_s'),
        max_age_s=value('sample_age_s'),
    )


def _mount(pitch_rad: float, roll_rad: float) -> dict[str, Any]:
    """The fields of how a camera is mounted: its pitch is counted from straight down, and from
    `AHEAD_RAD` on it looks ahead."""
    if pitch_rad < AHEAD_RAD:
        return {'mount': Attitude(pitch_rad, roll_rad)}
    return {'tilt': Tilt(pitch_rad - math.pi / 2, roll_rad)}


def fix_criteria(node: Node) -> FixCriteria:
    """The `FixCriteria` of the parameters."""
    return FixCriteria(
        min_confidence=value_of(node, 'min_confidence'),
        max_radius_m=value_of(node, 'max_radius_m'),
    )


def check(changed: list[RosParameter], configured: bool) -> SetParametersResult:
    """Whether parameters may be set now; `configured` as in `problem`."""
    problems = [problem(each.name, each.value, configured) for each in changed]
    reason = '; '.join(filter(None, problems))
    return SetParametersResult(successful=not reason, reason=reason)


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    described = ParameterDescriptor(
        description=parameter.text, read_only=parameter.changes == START
    )
    allowed = parameter.range
    if parameter.choices:
        described.additional_constraints = f'One of: {", ".join(parameter.choices)}.'
    elif allowed is None:
        return described
    elif allowed.at_least is None or allowed.at_most is None:
        # ROS knows ranges with two bounds, which belong to them, and no others.
        described.additional_constraints = f'It must be {allowed}.'
    elif isinstance(parameter.default, int):
        bounds = {'from_value': int(allowed.at_least), 'to_value': int(allowed.at_most)}
        described.integer_range = [IntegerRange(step=1, **bounds)]
    else:
        limits = {'from_value': float(allowed.at_least), 'to_value': float(allowed.at_most)}
        described.floating_point_range = [FloatingPointRange(**limits)]
    return described
