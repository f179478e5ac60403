"""Fixes that may all be fused: what each says that those before it did not. No ROS in here."""

from dataclasses import replace

import numpy as np

from justzoom_ros.filtering import Motion, MotionNoise
from justzoom_ros.filtering.channel_filter import ChannelConfig, ChannelFilter
from justzoom_ros.inference.fix import Fix, FixStatus
from justzoom_ros.inference.posterior import radius_m
from justzoom_ros.region import Region


class FixIncrements:
    """Takes every fix of a belief in its order and the motion before it. `scale`: the factor on
    the belief's covariances, which holds for the noise of its odometry too."""

    def __init__(
        self,
        region: Region,
        scale: float = 1.0,
        config: ChannelConfig | None = None,
    ) -> None:
        self._region, self._scale = region, scale
        self.channel = ChannelFilter(config)

    def reset(self) -> None:
        """Whatever was told counts no more: the next increment is a whole fix."""
        self.channel.reset()

    def add(self, fix: Fix, motion: Motion, noise: MotionNoise) -> Fix | None:
        """What is new in a fix after a `Motion` with a `MotionNoise`, as a `Fix` with the same
        heading; None where there is no fix, which uses nothing up, and before the heading is
        known."""
        self.channel.predict(motion, noise, self._scale)
        if fix.status is not FixStatus.FIX or fix.yaw_rad is None or fix.yaw_std_rad is None:
            return None
        covariance = np.zeros((3, 3))
        covariance[:2, :2], covariance[2, 2] = fix.covariance_m2, fix.yaw_std_rad**2
        covariance[:2, 2] = covariance[2, :2] = fix.heading_cross_m_rad
        mean = np.array([fix.east_m, fix.north_m, fix.yaw_rad])
        increment = self.channel.tell(mean, covariance)
        if increment is None:
            return None
        east_m, north_m = map(float, increment.place_m)
        latitude, longitude = self._region.to_latlon(east_m, north_m)
        return replace(
            fix,
            latitude=latitude,
            longitude=longitude,
            east_m=east_m,
            north_m=north_m,
            covariance_m2=increment.covariance_m2,
            radius_90_m=radius_m(increment.covariance_m2),
        )
