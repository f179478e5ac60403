"""What a user can get wrong, by name.

Every error that the package raises on purpose is a `JustZoomError` whose message is one sentence
naming the file, topic or value, what is wrong with it and what to do. The command line prints it
on one line and exits with status 2; the node puts it into its diagnostics.
"""


class JustZoomError(Exception):
    """Base of all errors caused by an input: a file, a value, a message, a missing package."""


class ConfigError(JustZoomError):
    """A configuration value or argument is out of its range or contradicts another one."""


class OutsideRegionError(JustZoomError):
    """A position is not inside the region's square."""


class MapError(JustZoomError):
    """A map, or the imagery that it is built from, cannot be read, built or used."""


class ImageError(JustZoomError):
    """A camera image cannot be decoded or has the wrong shape or type."""


class ViewError(JustZoomError):
    """Which ground a picture shows cannot be told: its scale, lens or tilt is not known, or it
    looks above the horizon."""


class WeightsError(JustZoomError):
    """A weights file cannot be read or does not fit the policy or the map."""


class DatasetError(JustZoomError):
    """A dataset, or one row or image of it, cannot be used."""


class BagError(JustZoomError):
    """A rosbag cannot be read or lacks a topic that is needed."""


class RuntimeUnavailableError(JustZoomError):
    """The requested runtime (a package, a device, an engine file) is not there."""


class OutputError(JustZoomError):
    """A result cannot be written where it is asked to go."""


class LiveError(JustZoomError):
    """A running node does not answer over ROS."""


class MotionError(JustZoomError):
    """A message about movement, or a position to start from, cannot be used."""


def first_line(error: BaseException) -> str:
    """The first line of what an error of another library says, its class where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
