"""Where a camera points, from how it sits on a body and how the body lies: axes of REP-103.

Body: x forward, y left, z up. Camera: the optical frame, x right and y down the image, z ahead of
the lens. World: east, north, up.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

Rotation = np.ndarray
"""(3, 3): coordinates in one frame to those in another, `a_from_b`."""

LOOKS_FORWARD = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""`body_from_camera` of a camera that looks forward, upright."""

STEEP = math.cos(math.radians(60.0))
"""A camera that looks down or up by more than 60 degrees has no heading of its own worth the
name: it is no forward camera."""


@dataclass(frozen=True)
class View:
    """Where an optical axis points."""

    yaw_rad: float
    """Counter-clockwise from the first axis of the frame (from east in the world)."""

    pitch_rad: float
    """Above the horizon."""

    roll_rad: float
    """About the axis, clockwise as the camera sees it."""


def view_of(rotation: Rotation) -> View | None:
    """The `View` of a camera whose rotation turns camera coordinates into a level frame, z up.
    None where it looks so steeply that it has no heading."""
    right, down, ahead = rotation.T
    if math.hypot(ahead[0], ahead[1]) < STEEP:
        return None
    yaw = math.atan2(ahead[1], ahead[0])
    # A camera without roll has its right axis level, at right angles to its heading.
    level = np.array([math.sin(yaw), -math.cos(yaw), 0.0])
    roll = math.atan2(-float(down @ level), float(right @ level))
    return View(yaw, math.asin(float(np.clip(ahead[2], -1.0, 1.0))), roll)


def rotation_of(x: float, y: float, z: float, w: float) -> Rotation | None:
    """The rotation of a quaternion of any length, None of one of length zero."""
    quaternion = np.array([x, y, z, w], float)
    norm = float(np.linalg.norm(quaternion))
    if not (math.isfinite(norm) and norm > 1e-6):
        return None
    vector, scalar = quaternion[:3] / norm, quaternion[3] / norm
    cross = np.cross(np.eye(3), vector)
    return np.eye(3) + 2 * scalar * cross + 2 * cross @ cross


def euler(roll_rad: float, pitch_rad: float, yaw_rad: float) -> Rotation:
    """`world_from_body` of a body that is turned about z, then y, then x."""
    cr, sr, cp, sp = (f(a) for a in (roll_rad, pitch_rad) for f in (math.cos, math.sin))
    cy, sy = math.cos(yaw_rad), math.sin(yaw_rad)
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def mount_of(transforms: Iterable[Any], camera: str, body: str) -> Rotation | None:
    """`body_from_camera` through a tree of `geometry_msgs/TransformStamped`, None where the frame
    `camera` does not lead to the frame `body`."""
    parents = {
        t.child_frame_id.lstrip('/'): (t.header.frame_id.lstrip('/'), t.transform.rotation)
        for t in transforms
    }
    rotation, frame = np.eye(3), camera.lstrip('/')
    for _ in range(len(parents) + 1):
        if frame == body.lstrip('/'):
            return rotation
        if frame not in parents:
            return None
        frame, q = parents[frame]
        step = rotation_of(q.x, q.y, q.z, q.w)
        if step is None:
            return None
        rotation = step @ rotation
    return None
