"""justzoom_ros: where in the city is this camera? Cross-view geo-localization for ROS 2.

The public names are imported on first use, so that `import justzoom_ros` loads neither torch nor
rclpy. Editors and type checkers see them as ordinary imports.
"""

from typing import TYPE_CHECKING

from justzoom_ros.lazy_names import lazy_names
from justzoom_ros.version import __version__ as __version__

if TYPE_CHECKING:
    from justzoom_ros.filtering import HistogramFilter, Motion, MotionNoise
    from justzoom_ros.inference.calibration import Calibration
    from justzoom_ros.inference.fix import Fix, FixCriteria, FixStatus, Hypothesis
    from justzoom_ros.inference.multi_view import Mount
    from justzoom_ros.inference.posterior import CellPosterior
    from justzoom_ros.inference.tree_search import SearchConfig
    from justzoom_ros.localizer import Localizer
    from justzoom_ros.maps.satellite_map import SatelliteMap
    from justzoom_ros.models import PolicyConfig, ZoomPolicy
    from justzoom_ros.pose import Pose
    from justzoom_ros.region import Cell, Region
    from justzoom_ros.tracker import Tracker, TrackerConfig

__all__ = [
    'Calibration',
    'Cell',
    'CellPosterior',
    'Fix',
    'FixCriteria',
    'FixStatus',
    'HistogramFilter',
    'Hypothesis',
    'Localizer',
    'Motion',
    'MotionNoise',
    'Mount',
    'PolicyConfig',
    'Pose',
    'Region',
    'SatelliteMap',
    'SearchConfig',
    'Tracker',
    'TrackerConfig',
    'ZoomPolicy',
]

_HOMES = {
    'Calibration': 'inference.calibration',
    'Cell': 'region',
    'CellPosterior': 'inference.posterior',
    'Fix': 'inference.fix',
    'FixCriteria': 'inference.fix',
    'FixStatus': 'inference.fix',
    'HistogramFilter': 'filtering',
    'Hypothesis': 'inference.fix',
    'Localizer': 'localizer',
    'Motion': 'filtering',
    'MotionNoise': 'filtering',
    'Mount': 'inference.multi_view',
    'PolicyConfig': 'models',
    'Pose': 'pose',
    'Region': 'region',
    'SatelliteMap': 'maps.satellite_map',
    'SearchConfig': 'inference.tree_search',
    'Tracker': 'tracker',
    'TrackerConfig': 'tracker',
    'ZoomPolicy': 'models',
}
"""Where each public name lives."""

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
