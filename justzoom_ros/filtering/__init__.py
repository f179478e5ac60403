"""A Bayes filter over place and heading: where the robot may be after all frames and odometry."""

from justzoom_ros.filtering.base import FILTERS, BeliefFilter, FilterConfig, make_filter
from justzoom_ros.filtering.fine_window import FineWindowConfig
from justzoom_ros.filtering.histogram_filter import HistogramFilter, HistogramFilterConfig
from justzoom_ros.filtering.motion_model import Motion, MotionNoise
from justzoom_ros.filtering.odometry import Odometry, OdometryConfig
from justzoom_ros.filtering.pose_filter import PoseFilter, PoseFilterConfig
from justzoom_ros.filtering.pose_ratios import PoseRatios
from justzoom_ros.filtering.search_area import SearchArea

__all__ = [
    'FILTERS',
    'BeliefFilter',
    'FilterConfig',
    'FineWindowConfig',
    'HistogramFilter',
    'HistogramFilterConfig',
    'Motion',
    'MotionNoise',
    'Odometry',
    'OdometryConfig',
    'PoseFilter',
    'PoseFilterConfig',
    'PoseRatios',
    'SearchArea',
    'make_filter',
]
