"""A Bayes filter over place and heading: where the robot may be after all frames and odometry.

The names are imported on first use: who carries a fix on by odometry needs no torch, which takes
seconds to load on a small computer.
"""

from typing import TYPE_CHECKING

from justzoom_ros.lazy_names import lazy_names

if TYPE_CHECKING:
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

_HOMES = {
    'FILTERS': 'base',
    'BeliefFilter': 'base',
    'FilterConfig': 'base',
    'FineWindowConfig': 'fine_window',
    'HistogramFilter': 'histogram_filter',
    'HistogramFilterConfig': 'histogram_filter',
    'Motion': 'motion_model',
    'MotionNoise': 'motion_model',
    'Odometry': 'odometry',
    'OdometryConfig': 'odometry',
    'PoseFilter': 'pose_filter',
    'PoseFilterConfig': 'pose_filter',
    'PoseRatios': 'pose_ratios',
    'SearchArea': 'search_area',
    'make_filter': 'base',
}
"""Where each name lives."""

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
