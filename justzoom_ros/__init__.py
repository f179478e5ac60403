"""justzoom_ros: where in the city is this camera? Cross-view geo-localization for ROS 2.

The four public names are imported on first use, so that `import justzoom_ros` loads neither
torch nor rclpy.
"""

from importlib import import_module

__version__ = '0.1.0'

_HOMES = {
    'Region': 'region',
    'Cell': 'region',
    'SatelliteMap': 'maps.satellite_map',
    'ZoomPolicy': 'models',
    'PolicyConfig': 'models',
    'CellPosterior': 'inference.posterior',
    'Localizer': 'localizer',
    'Fix': 'inference.fix',
    'Tracker': 'tracker',
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'.{_HOMES[name]}', __name__), name)


def __dir__():
    return sorted([*globals(), *__all__])
