"""What a tracker asks of a filter over place and heading, and which filters there are.

To add one: a class with these methods and a frozen dataclass of its settings, in a file of its
own, and one line in FILTERS.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import numpy as np

from justzoom_ros.filtering.core_moments import CoreMoments
from justzoom_ros.filtering.motion_model import Motion, MotionNoise
from justzoom_ros.filtering.pose_ratios import PoseRatios
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.region import Region
from justzoom_ros.registry import Registry


class BeliefFilter(Protocol):
    """Probabilities over place and heading in one region. From one thread at a time."""

    @property
    def off_map(self) -> float:
        """Probability (0..1) that the robot is not on the map."""

    @property
    def yaws_rad(self) -> np.ndarray:
        """Headings (K,) that it tells apart, counter-clockwise from east."""

    @property
    def nbytes(self) -> int:
        """Memory that the probabilities take."""

    def start(self, yaw_rad: float | None = None, yaw_std_rad: float = 0.0) -> None:
        """Forget everything: anywhere with imagery, with any heading or a normal one."""

    def start_near(
        self,
        mean_m: np.ndarray | tuple[float, float],
        covariance_m2: np.ndarray,
        yaw_rad: float | None = None,
        yaw_std_rad: float = 0.0,
    ) -> None:
        """Begin round a position (2,), metres east and north of the region's centre, with
        covariance (2, 2). Raises ConfigError where the map has nothing there."""

    def predict(self, motion: Motion, noise: MotionNoise) -> None:
        """Follow a `Motion` that is wrong by a `MotionNoise`."""

    def update(
        self, posterior: CellPosterior, exponent: float = 1.0, novelty: float = 1.0
    ) -> None:
        """Weigh by one frame under a uniform prior, its likelihood raised to `exponent` (0..1); of
        what it says the share `novelty` (0..1) was not seen before."""

    def update_poses(
        self, likelihood: PoseRatios, exponent: float = 1.0, novelty: float = 1.0
    ) -> None:
        """As `update`, by how probable a view is at places and headings, relative to elsewhere."""

    def update_heading(self, yaw_rad: float, std_rad: float, exponent: float = 1.0) -> None:
        """Weigh by a measured heading, counter-clockwise from east, and its standard deviation."""

    def posterior(self) -> CellPosterior:
        """Masses of the terminal cells, given that the robot is on the map."""

    def clear_moments(self) -> CoreMoments | None:
        """Moments of the one mode that stands for the belief; None where there is none."""

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (N, 2), metres east and north, that hold nearly all of the mass on the map,
        and their masses (N,), summing to one."""

    def moments(
        self, indices: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Mean (2,) and covariance (2, 2) of the position, ENU; mean yaw (radians) and the length
        (0..1) of the mean heading vector; of the terminal cells with these path indices (all)."""

    def heading_cross(self, indices: np.ndarray | None = None) -> np.ndarray:
        """Covariance (2,) of east and north with the yaw, metres times radians, of what `moments`
        is of: a robot that has turned too far left is too far left as well."""

    def mass_within(self, east_m: float, north_m: float, radius_m: float) -> float:
        """Mass (0..1) within a radius of a point."""


class FilterConfig(Protocol):
    """Settings of a filter: a frozen dataclass."""

    kind: ClassVar[str]
    """Which of FILTERS they are for."""


FILTERS: Registry[Callable[[Region, np.ndarray, Any], BeliefFilter]] = Registry(
    'filter',
    {
        'histogram': 'justzoom_ros.filtering.histogram_filter:HistogramFilter',
        'pose': 'justzoom_ros.filtering.pose_filter:PoseFilter',
    },
)
"""What makes a filter of a region, flags (cells,) of the terminal cells with imagery in the order
of the cell index, and its settings."""


def make_filter(region: Region, covered: np.ndarray, config: FilterConfig) -> BeliefFilter:
    """The filter that the settings are for. Raises ConfigError where there is none."""
    return FILTERS.get(config.kind)(region, covered, config)
