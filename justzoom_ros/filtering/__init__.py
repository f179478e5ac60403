"""A Bayes filter over place and heading: where the robot may be after all frames and odometry."""

from justzoom_ros.filtering.base import FILTERS, BeliefFilter, FilterConfig, make_filter
from justzoom_ros.filtering.histogram_filter import HistogramFilter, HistogramFilterConfig
from justzoom_ros.filtering.motion_model import Motion, MotionNoise
from justzoom_ros.filtering.odometry import Odometry, OdometryConfig

__all__ = [
    'FILTERS',
    'BeliefFilter',
    'FilterConfig',
    'HistogramFilter',
    'HistogramFilterConfig',
    'Motion',
    'MotionNoise',
    'Odometry',
    'OdometryConfig',
    'make_filter',
]
