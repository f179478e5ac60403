"""A Bayes filter over place and heading: where the robot may be after all frames and odometry."""

from justzoom_ros.filtering.base import (
    BeliefFilter,
    make_filter,
    register_filter,
    registered_filters,
)
from justzoom_ros.filtering.histogram_filter import HistogramFilter, HistogramFilterConfig
from justzoom_ros.filtering.motion_model import Motion, MotionNoise
from justzoom_ros.filtering.odometry import Odometry, OdometryConfig

__all__ = [
    'BeliefFilter',
    'HistogramFilter',
    'HistogramFilterConfig',
    'Motion',
    'MotionNoise',
    'Odometry',
    'OdometryConfig',
    'make_filter',
    'register_filter',
    'registered_filters',
]

register_filter(HistogramFilterConfig, HistogramFilter)
