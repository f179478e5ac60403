"""Odometry made from true positions, for recordings that have none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.pose import Pose


@dataclass(frozen=True)
class DriftConfig:
    """How wrong made odometry is. Where the robot starts and which way is not known: pose 0,
    yaw 0. Raises ConfigError for values out of range."""

    length_share: float = 0.05
    """Standard deviation (0..1) of the normal share by which every step's length is off."""

    yaw_rad_s: float = np.radians(1.0) / 60
    """Drift of the yaw."""

    seed: int = 0
    """Draws the noise."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.length_share) and 0 <= self.length_share < 1):
            raise ConfigError(f'odometry noise is {self.length_share}; it must lie in 0..1')
        if not np.isfinite(self.yaw_rad_s):
            raise ConfigError(f'yaw drift is {self.yaw_rad_s}; it must be finite')


def dead_reckon(
    stamps_ns: Sequence[int] | np.ndarray,
    positions_m: Sequence[tuple[float, float]] | np.ndarray,
    config: DriftConfig | None = None,
) -> list[Pose]:
    """`Pose`s at the times (N,) of true positions (N, 2), metres, that a robot looking where it
    goes would have measured."""
    config = config or DriftConfig()
    rng = np.random.default_rng(config.seed)
    steps = np.diff(np.asarray(positions_m, float), axis=0)
    ahead = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    lengths = np.hypot(*steps.T) * (1 + config.length_share * rng.normal(size=len(steps)))
    since_s = (np.asarray(stamps_ns) - stamps_ns[0]) / 1e9
    yaw = ahead - ahead[0] + config.yaw_rad_s * since_s[1:]
    path = np.cumsum(lengths * np.exp(1j * yaw))
    x, y = np.concatenate([[0], path.real]), np.concatenate([[0], path.imag])
    yaw = np.concatenate([yaw[:1], yaw])
    columns = zip(stamps_ns, x, y, yaw, strict=True)
    return [Pose(int(stamp), float(x), float(y), float(yaw)) for stamp, x, y, yaw in columns]
