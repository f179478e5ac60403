"""What the active node subscribes to, and the images of a rig that belong together."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import QuaternionStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, NavSatFix, Range
from std_msgs.msg import Float64

from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.multi_view import Mount
from justzoom_ros.io.image_message import UsedDepth
from justzoom_ros.io.stamps import to_nanoseconds
from justzoom_ros.io.undistortion import Undistorter
from justzoom_ros.live.camera_sensors import HEIGHT_TOPICS, CameraSensors
from justzoom_ros.live.frame_processor import FrameProcessor
from justzoom_ros.live.image_decoder import Decoder, image_range_of
from justzoom_ros.ros.declare import value_of

RIG_FOV_DEG = 90.0
"""Field of view of a rig's cameras where it is not given."""

QUEUE = 100
"""Odometry is small and comes fast; none of it should be lost while a frame is at work."""


class Inputs:
    """Subscriptions of a node, from `open` to `close`, and the latest image of each further
    camera."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.subscriptions: list[Subscription[Any]] = []
        self.others: dict[int, Any] = {}
        self._depths: dict[int, UsedDepth] = {}
        self.mounts: list[Mount] = []
        self.undistorter: Undistorter | None = None
        self.decoder = Decoder('own')

    @property
    def image_topic(self) -> str:
        """Where the first camera's images are."""
        return self._choose_image_topic('image')

    def open(
        self,
        on_image: Callable[[Any], None],
        on_prior: Callable[[NavSatFix], None],
        processor: FrameProcessor,
    ) -> None:
        """Subscribe: images of the first camera go to `on_image`, start positions to `on_prior`,
        movement to the processor. Raises ConfigError where there is no camera."""
        self.mounts = self._choose_mounts()
        self.decoder = Decoder(self._value('decoder'))
        image_range = image_range_of(self._value('image_range'))
        self._depths = {number: UsedDepth(image_range) for number in range(len(self.mounts))}
        self.undistorter = Undistorter() if self._value('undistort') else None
        self._subscribe_images(on_image)
        if self._value('motion') != 'never':
            self._subscribe_motion(on_prior, processor)
        if self.undistorter:
            self._add(CameraInfo, 'camera_info', self.undistorter.set_info, _best_effort(1))
        if processor.sensors:
            self._subscribe_sensors(processor.sensors)

    def close(self) -> None:
        """Unsubscribe, and forget what the cameras showed."""
        for subscription in self.subscriptions:
            self._node.destroy_subscription(subscription)
        self.subscriptions.clear()
        self.others.clear()

    def rig(self, message: Any) -> dict[int, Any]:
        """{number of the camera: message}: the first camera's and those of about its time."""
        slop_ns, stamp_ns = (
            self._value('camera_slop_s') * 1e9,
            to_nanoseconds(message.header.stamp),
        )
        others = {
            number: other
            for number, other in sorted(self.others.items())
            if abs(to_nanoseconds(other.header.stamp) - stamp_ns) <= slop_ns
        }
        return {0: message, **others}

    def decode(
        self, rig: dict[int, Any], enough_px: tuple[int, int] | None
    ) -> tuple[list[np.ndarray], list[Mount]]:
        """Images uint8 (H, W, 3) RGB of the messages of a rig, and their `Mount`s. A JPEG may be
        decoded smaller, but not below `enough_px` (width, height), if given. Raises ImageError."""
        # Undistortion knows the camera's own pixels only.
        enough = None if self.undistorter else enough_px
        images = [
            self.decoder.decode(message, enough, self._depths[number])
            for number, message in rig.items()
        ]
        if self.undistorter:
            images[0] = self.undistorter.undistort(images[0])
        return images, [self.mounts[number] for number in rig]

    def _subscribe_images(self, on_image: Callable[[Any], None]) -> None:
        compressed = self._value('image_transport') == 'compressed'
        kind = CompressedImage if compressed else Image
        reliability = ReliabilityPolicy[self._value('image_reliability').upper()]
        quality = QoSProfile(depth=1, reliability=reliability)
        self._add(kind, self.image_topic, on_image, quality)
        for number in range(1, len(self.mounts)):
            topic = self._choose_image_topic(f'image_{number}')
            self._add(kind, topic, partial(self.others.__setitem__, number), quality)

    def _subscribe_motion(
        self, on_prior: Callable[[NavSatFix], None], processor: FrameProcessor
    ) -> None:
        self._add(Odometry, 'odom', processor.add_odometry, _best_effort(QUEUE))
        self._add(NavSatFix, 'initial_fix', on_prior, QoSProfile(depth=1))
        if processor.alignment:
            self._add(NavSatFix, 'gnss', processor.add_gnss, _best_effort(QUEUE))
        if self._value('imu_yaw'):
            self._add(Imu, 'imu', processor.add_imu, _best_effort(QUEUE))

    def _subscribe_sensors(self, sensors: CameraSensors) -> None:
        """What tells of the camera's lens, height and attitude, as the parameters choose."""
        config = sensors.config
        if config.undistorted or config.lens_source == 'camera_info':
            self._add(CameraInfo, 'camera_info', sensors.set_info, _best_effort(1))
        if config.height_source != 'none':
            kind, take = {
                'range': (Range, sensors.add_range),
                'float64': (Float64, sensors.add_height),
                'altitude': (Float64, sensors.add_altitude),
                'odom': (Odometry, sensors.add_odometry),
            }[config.height_source]
            self._add(kind, HEIGHT_TOPICS[config.height_source], take, _best_effort(QUEUE))
        if config.attitude_source == 'gimbal':
            self._add(QuaternionStamped, 'gimbal', sensors.add_gimbal, _best_effort(QUEUE))
        if config.attitude_source == 'imu' or config.imu_yaw:
            self._add(Imu, 'imu', sensors.add_imu, _best_effort(QUEUE))

    def _add(
        self, kind: type, topic: str, take: Callable[[Any], None], quality: QoSProfile
    ) -> None:
        made = self._node.create_subscription(kind, topic, take, quality)
        self.subscriptions.append(made)

    def _choose_mounts(self) -> list[Mount]:
        """The `Mount` of each camera."""
        fov_rad = math.radians(self._value('camera_fov_deg') or RIG_FOV_DEG)
        headings = self._value('camera_headings_deg')
        if not len(headings):
            raise ConfigError('parameter camera_headings_deg is empty; it needs one per camera')
        return [Mount(math.radians(heading - headings[0]), fov_rad) for heading in headings]

    def _choose_image_topic(self, name: str) -> str:
        """As image_transport: the compressed images of a topic are on a topic below it."""
        topic = self._node.resolve_topic_name(name)
        if self._value('image_transport') == 'raw' or topic.endswith('/compressed'):
            return topic
        return f'{topic}/compressed'

    def _value(self, name: str) -> Any:
        return value_of(self._node, name)


def _best_effort(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
