"""Belief in motion: where the robot may be after all frames and all odometry so far."""

from justzoom_ros.filtering.histogram_filter import Belief, BeliefConfig
from justzoom_ros.filtering.motion_model import Motion, MotionNoise
from justzoom_ros.filtering.odometry import Odometry, OdometryConfig
from justzoom_ros.pose import Pose

__all__ = ['Belief', 'BeliefConfig', 'Motion', 'MotionNoise', 'Odometry', 'OdometryConfig', 'Pose']
