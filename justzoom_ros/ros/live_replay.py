"""Replay over DDS: a bag's messages to a running node, its fixes back."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from nav_msgs.msg import OccupancyGrid
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import NavSatFix, NavSatStatus
from std_srvs.srv import Trigger

from justzoom_ros.errors import ImageError, LiveError
from justzoom_ros.evaluation.replay import ReplayedFix
from justzoom_ros.io.bags import Bag, BagMessage
from justzoom_ros.io.sequences import FrameEvent, OtherEvent, SequenceTopics, events_of_bag
from justzoom_ros.io.stamps import from_nanoseconds, to_nanoseconds
from justzoom_ros.plots.motion import belief_picture
from justzoom_ros.ros.client import POLL_S, Client, publishers_of
from justzoom_ros.ros.heard_frames import HeardFrames

SETTLE_S = 0.5
"""DDS matches each side of a topic by itself; the node's side cannot be seen from here."""
ASK_AGAIN_S = 1.0
QUEUE = 100
QOS = QoSProfile(depth=QUEUE, reliability=ReliabilityPolicy.RELIABLE)


Recorded = FrameEvent | OtherEvent


class LiveNode(Client):
    """A running localizer node as seen over DDS: messages to it, its fixes from it.

    Use as a context manager. `types` {topic: type} are the topics to publish on; those whose
    message package is not installed are left out and named in `left_out`. With `clock` each
    message's stamp is published on /clock before it, for a node with use_sim_time. With `draws` it
    also hears what a page shows of each frame.
    """

    def __init__(
        self,
        types: Mapping[str, str],
        image_topic: str,
        fix_topic: str = 'fix',
        timeout_s: float = 60.0,
        clock: bool = False,
        draws: bool = False,
    ) -> None:
        self.image_topic, self.timeout_s = image_topic, timeout_s
        self.fixes: dict[int, NavSatFix] = {}
        self.arrivals: dict[int, float] = {}
        self._beliefs: dict[int, np.ndarray] = {}
        super().__init__('justzoom_replay')
        self.fix_topic = self._node.resolve_topic_name(fix_topic)
        self._heard = self._node.create_subscription(NavSatFix, fix_topic, self._on_fix, QOS)
        prefix = self.fix_topic.rpartition('/')[0]
        self._node.create_subscription(OccupancyGrid, f'{prefix}/belief', self._on_belief, QOS)
        self._heard_frames = HeardFrames(self._node, self.fix_topic, QOS) if draws else None
        self._publishers: dict[str, Any] = {}
        for topic, kind in types.items():
            message_type = _message_type(kind)
            if message_type and topic != self.fix_topic:
                publisher: Any = self._node.create_publisher(message_type, topic, QOS)
                self._publishers[topic] = publisher
        self.left_out = sorted(set(types) - set(self._publishers))
        self._clock = self._node.create_publisher(Clock, '/clock', QOS) if clock else None

    def wait_until_there(self) -> None:
        """Return once the node listens to the images and offers fixes, and has been reset: it
        may have seen this bag before. Raises LiveError."""
        images = self._publishers[self.image_topic]
        if not self._spin_until(lambda: images.get_subscription_count() > 0):
            raise LiveError(
                f'nobody subscribes to {self.image_topic} within {self.timeout_s:g} s; is the '
                'node active, with this image topic and type, in the same ROS_DOMAIN_ID?'
            )
        if not self._spin_until(lambda: self._heard.get_publisher_count() > 0):
            raise LiveError(
                f'nobody publishes {self.fix_topic} within {self.timeout_s:g} s; name the '
                "node's topic with --fix-topic"
            )
        self.reset()
        self.receive(SETTLE_S)

    def send(self, item: BagMessage) -> None:
        """Publish a BagMessage as it was recorded."""
        if self._clock:
            sec, nanosec = from_nanoseconds(item.stamp_ns)
            self._clock.publish(Clock(clock=Time(sec=sec, nanosec=nanosec)))
        if item.topic in self._publishers:
            self._publishers[item.topic].publish(item.raw)

    def ask(self, item: BagMessage) -> NavSatFix:
        """Publish an image and wait for the fix with its stamp. Raises LiveError."""
        self.fixes.pop(item.stamp_ns, None)
        self.send(item)
        if not self._spin_until(lambda: item.stamp_ns in self.fixes):
            raise LiveError(
                f'no fix on {self.fix_topic} within {self.timeout_s:g} s of the image stamped '
                f'{item.stamp_ns} on {self.image_topic}; {self._advice()}'
            )
        return self.fixes[item.stamp_ns]

    def receive(self, seconds: float) -> None:
        """Take in fixes for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._spin_once(min(left, POLL_S))

    def receive_arrivals(self, until_s: float) -> None:
        """Take in fixes until a time of the monotonic clock, each as soon as it comes."""
        while (left := until_s - time.monotonic()) > 0:
            self._spin_once(min(left, 0.002))

    def receive_until(self, stamps_ns: Iterable[int]) -> None:
        """Take in fixes until those with these stamps are there, or the time is up."""
        self._spin_until(lambda: self.fixes.keys() >= set(stamps_ns))

    def with_beliefs(self, fixes: Iterable[ReplayedFix]) -> list[ReplayedFix]:
        """The ReplayedFixes with what the node published with them: its beliefs and, with `draws`,
        what a page shows of them and why there was no fix."""
        self.receive(SETTLE_S)
        return [
            self._with_view(replace(fix, picture=self._beliefs.get(fix.stamp_ns))) for fix in fixes
        ]

    def _with_view(self, fix: ReplayedFix) -> ReplayedFix:
        if self._heard_frames is None:
            return fix
        view = self._heard_frames.view(fix.stamp_ns, fix.status)
        return replace(fix, view=view, reason=fix.reason or view.reason)

    def bad_image(self, frame: FrameEvent) -> ReplayedFix | None:
        """What comes of an image that cannot be decoded; None of a good one."""
        try:
            pixels = frame.load()
        except ImageError as error:
            return ReplayedFix(frame.stamp_ns, 'error', str(error))
        if self._heard_frames:
            self._heard_frames.add_image(frame.stamp_ns, pixels)
        return None

    def reset(self) -> None:
        """Make the publisher of the fixes forget the stamps of before, by its service ~/reset."""
        self._spin_until(lambda: self._reset_service() is not None)
        service = self._reset_service()
        if service is None:
            raise LiveError(f'the node that publishes {self.fix_topic} does not give its name')
        client: Any = self._node.create_client(Trigger, service)
        answers: list[Any] = []
        asked_s = -ASK_AGAIN_S

        def is_answered() -> bool:
            # The answer is lost where the node's side does not know us yet.
            nonlocal asked_s
            if client.service_is_ready() and time.monotonic() - asked_s > ASK_AGAIN_S:
                answers.append(client.call_async(Trigger.Request()))
                asked_s = time.monotonic()
            return any(answer.done() for answer in answers)

        if not self._spin_until(is_answered):
            raise LiveError(f'no answer from {service} within {self.timeout_s:g} s')
        self._node.destroy_client(client)

    def _reset_service(self) -> str | None:
        """Its name, None as long as the node's is not known."""
        names = publishers_of(self._node, self.fix_topic)
        return f'{names[0]}/reset' if names else None

    def _on_fix(self, message: NavSatFix) -> None:
        self.arrivals[to_nanoseconds(message.header.stamp)] = time.monotonic()
        self.fixes[to_nanoseconds(message.header.stamp)] = message

    def _on_belief(self, message: OccupancyGrid) -> None:
        grid = np.array(message.data, np.float32).reshape(message.info.height, -1)[::-1] / 100
        self._beliefs[to_nanoseconds(message.header.stamp)] = belief_picture(grid**2)

    def _spin_until(self, condition: Callable[[], bool]) -> bool:
        end = time.monotonic() + self.timeout_s
        while not condition():
            if time.monotonic() > end:
                return False
            self._spin_once()
        return True

    def _advice(self) -> str:
        found = self._node.get_subscriptions_info_by_topic(self.image_topic)
        if not found:
            return 'the node is gone'
        if any(i.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for i in found):
            return 'it subscribes best effort, which loses large images: make it reliable'
        return "see the node's diagnostics"


def replay_live(
    bag: Bag,
    topic: str,
    node: LiveNode,
    rate: float | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Iterator[ReplayedFix]:
    """Yield the ReplayedFix of each image on a topic of an open `Bag`, localized by a LiveNode.

    Every message of the bag is published. Without `rate` each image waits for the fix of the one
    before, so that none is passed over; with it (1.0: as recorded) the stamps set the pace and an
    image that the node passes over is 'missed'. `progress` wraps all messages, as tqdm does.
    Raises LiveError.
    """
    node.wait_until_there()
    topics = SequenceTopics(topic, others=tuple(bag.topics))
    # A jump of the clock the node sees by itself.
    events = (
        event
        for event in events_of_bag(bag, topics, progress=progress)
        if isinstance(event, FrameEvent | OtherEvent)
    )
    return _in_step(events, node) if rate is None else _in_time(events, node, rate)


def _in_step(events: Iterable[Recorded], node: LiveNode) -> Iterator[ReplayedFix]:
    for event in events:
        if isinstance(event, OtherEvent):
            node.send(_recorded(event))
        elif bad := node.bad_image(event):
            # The node says so in its diagnostics: there is no fix to wait for.
            node.send(_recorded(event))
            yield bad
        else:
            yield _replayed(node.ask(_recorded(event)), event.stamp_ns)


def _in_time(events: Iterable[Recorded], node: LiveNode, rate: float) -> Iterator[ReplayedFix]:
    sent: list[tuple[int, ReplayedFix | None]] = []
    start_ns, start_s = None, time.monotonic()
    for event in events:
        start_ns = event.stamp_ns if start_ns is None else start_ns
        due_s = start_s + (event.stamp_ns - start_ns) / 1e9 / rate
        node.receive(due_s - time.monotonic())
        node.send(_recorded(event))
        if isinstance(event, FrameEvent):
            sent.append((event.stamp_ns, node.bad_image(event)))
    # The last good image is never passed over, so its fix is the end of it.
    node.receive_until([stamp_ns for stamp_ns, bad in sent if not bad][-1:])
    for stamp_ns, bad in sent:
        yield bad or _replayed(node.fixes.get(stamp_ns), stamp_ns)


def _recorded(event: Recorded) -> BagMessage:
    """The message that an event of a bag was made from."""
    assert event.message is not None
    return event.message


def _replayed(message: NavSatFix | None, stamp_ns: int) -> ReplayedFix:
    if message is None:
        return ReplayedFix(stamp_ns, 'missed', 'the node took a newer image')
    status = 'no_fix' if message.status.status == NavSatStatus.STATUS_NO_FIX else 'fix'
    covariance = np.array(message.position_covariance).reshape(3, 3)[:2, :2]
    position = message.latitude, message.longitude, covariance
    return ReplayedFix(stamp_ns, status, '', *position)


def _message_type(kind: str) -> type | None:
    """The class of 'package/msg/Name', None where the package is not installed."""
    package, _, name = kind.split('/')
    try:
        return getattr(import_module(f'{package}.msg'), name, None)
    except ImportError:
        return None
