"""Belief in motion: where the robot may be after all frames and all odometry so far."""

from justzoom_ros.belief.belief import Belief, BeliefConfig
from justzoom_ros.belief.motion import Motion, MotionNoise
from justzoom_ros.belief.odometry import Odometry, OdometryConfig, Pose

__all__ = ['Belief', 'BeliefConfig', 'Motion', 'MotionNoise', 'Odometry', 'OdometryConfig', 'Pose']
