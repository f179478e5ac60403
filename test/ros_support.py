"""What tests need of ROS: a domain of their own, a tiny map and policy, and a peer that talks
to the node over DDS as a robot would."""

import contextlib
import os
import threading
import time
from array import array

import numpy as np
import pytest
import tiny

from justzoom_ros import Region
from justzoom_ros.live.node_process import lock_domain

os.environ['RMW_IMPLEMENTATION'] = 'rmw_fastrtps_cpp'
pytest.importorskip('rclpy', reason='rclpy is not installed')

import rclpy  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from geometry_msgs.msg import PoseWithCovarianceStamped  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image, NavSatFix, PointCloud2  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from justzoom_ros.ros import lifecycle  # noqa: E402

REGION = Region(42.0, -76.0, 400.0, grid=2, depth=3)
PATIENCE_S = 120.0
"""So long is waited for what comes at once on a quiet machine."""
MEET_S = 30.0
"""After so long without an answer of a node in this process, DDS is taken to have failed."""
AGAIN_S = 20.0
"""What may get lost on its way is sent again after so long without an effect."""
SERVICES = {
    'change_state': ChangeState,
    'set_parameters': SetParameters,
    'reset': Trigger,
    'get_state': GetState,
}
TRANSITIONS = {'configure': 1, 'cleanup': 2, 'activate': 3, 'deactivate': 4}


@contextlib.contextmanager
def own_domain(first=1, last=40):
    """A ROS domain that no other test process on this machine has at this moment."""
    with contextlib.ExitStack() as stack:
        while (domain := lock_domain(range(first, last + 1), stack)) is None:
            time.sleep(0.1)
        yield domain


def make_files(folder):
    """Paths of a tiny map, and of weights of a policy that is always 'sure' of some cell and of
    one that is 'unsure' of all."""
    map = tiny.make_map(folder, REGION)
    paths = {'map': str(map.path)}
    for name, gain in (('sure', 1e5), ('unsure', 1e-3)):
        (folder / name).mkdir()
        paths[name] = str(tiny.make_weights(folder / name, map, gain))
    return paths


def image_message(stamp_s, frame_id='camera', width=48, height=32, seed=0):
    """A picture of noise as sensor_msgs/Image, rgb8; `stamp_s` may have a fraction."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    message = Image(width=width, height=height, encoding='rgb8', step=3 * width)
    message.data = array('B', pixels.tobytes())
    message.header.frame_id = frame_id
    message.header.stamp.sec = int(stamp_s)
    message.header.stamp.nanosec = round(stamp_s % 1 * 1e9)
    return message


def stamp_s(message):
    return message.header.stamp.sec + message.header.stamp.nanosec / 1e9


class Waited(AssertionError):
    """Something did not come about in time."""


class Peer:
    """A node beside the one under test: drives it, feeds it and keeps what it says."""

    def __init__(self, context, compressed=False, reliable=True, namespace='/', image='image'):
        self.node = rclpy.create_node('peer', namespace=namespace, context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self.fixes, self.poses, self.clouds, self.statuses = [], [], [], []
        for kind, topic, heard in (
            (NavSatFix, 'fix', self.fixes),
            (PoseWithCovarianceStamped, 'pose', self.poses),
            (PointCloud2, 'hypotheses', self.clouds),
        ):
            self.node.create_subscription(kind, topic, heard.append, 50)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 50)
        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        kind = CompressedImage if compressed else Image
        quality = QoSProfile(depth=10, reliability=reliability)
        self.images = self.node.create_publisher(kind, image, quality)
        self._clients = {
            service: self.node.create_client(kind, f'{namespace.rstrip("/")}/justzoom/{service}')
            for service, kind in SERVICES.items()
        }
        self._target = f'{namespace.rstrip("/")}/justzoom'

    def _on_diagnostics(self, message):
        self.statuses.extend(s for s in message.status if self._target in s.name)

    def wait(self, condition, what='condition', patience_s=PATIENCE_S):
        """Spin until `condition()` is true; fails after `patience_s`."""
        end_s = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() >= end_s:
                raise Waited(f'waited {patience_s} s for {what}')
            self._executor.spin_once(timeout_sec=0.02)

    def meet(self, patience_s=PATIENCE_S):
        """Wait until the node under test answers. Its side of a service may come to know us later
        than we come to know it, and answers until then are lost: only a question that may be
        repeated will do. The other clients were made before this one, and are known by then."""
        client = self._clients['get_state']
        self.wait(client.service_is_ready, 'the node', patience_s)
        for _ in range(int(patience_s)):
            future = client.call_async(GetState.Request())
            with contextlib.suppress(Waited):
                self.wait(future.done, patience_s=1.0)
                return
        raise Waited('the node does not answer')

    def call(self, service, request):
        """The response of a service of the node under test."""
        client = self._clients[service]
        self.wait(client.service_is_ready, service)
        # An answer may get lost before the node's side knows us; all but a transition may be
        # asked for again.
        tries = 1 if service == 'change_state' else 6
        for number in range(tries):
            future = client.call_async(request)
            try:
                self.wait(future.done, service, PATIENCE_S / tries)
                return future.result()
            except Waited:
                if number == tries - 1:
                    raise

    def change(self, transition):
        """One lifecycle transition by its service; True where it succeeds."""
        request = ChangeState.Request()
        request.transition.id = TRANSITIONS[transition]
        return self.call('change_state', request).success

    def state(self):
        return self.call('get_state', GetState.Request()).current_state.label

    def set(self, **values):
        """Set parameters by their service; returns '' or the reason of the first refusal."""
        parameters = [Parameter(n, value=v).to_parameter_msg() for n, v in values.items()]
        response = self.call('set_parameters', SetParameters.Request(parameters=parameters))
        refused = [r.reason or 'refused' for r in response.results if not r.successful]
        return refused[0] if refused else ''

    def publish_until(self, condition, message, what):
        """Publish an image until it takes effect: images are taken best effort."""
        for _ in range(int(PATIENCE_S / AGAIN_S)):
            self.images.publish(message)
            with contextlib.suppress(Waited):
                return self.wait(condition, what, AGAIN_S)
        raise Waited(f'waited {PATIENCE_S} s for {what}')

    def connect(self):
        """Wait until images reach the node and its fixes reach us."""
        self.wait(self.images.get_subscription_count, 'an image subscription')
        self.wait(lambda: self.node.count_publishers('fix'), 'a fix publisher')

    def diagnosis(self, text, level=None):
        """Wait for a diagnostic status whose message contains `text`; returns it."""
        self.statuses.clear()

        def found():
            return any(
                text in s.message and (level is None or s.level == level) for s in self.statuses
            )

        try:
            self.wait(found)
        except Waited:
            said = {(s.level, s.message) for s in self.statuses}
            raise Waited(f'no diagnostics with {text!r}, but {said}') from None
        return next(s for s in self.statuses if text in s.message)

    def close(self):
        self._executor.shutdown()
        self.node.destroy_node()


@contextlib.contextmanager
def spun(node, context):
    """Spin `node` in a thread of its own while the block runs."""
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown()
        thread.join()
        node.destroy_node()


def _spin(executor):
    with contextlib.suppress(rclpy.executors.ExternalShutdownException):
        executor.spin()


@contextlib.contextmanager
def robot(*arguments, **options):
    """`one_robot`, set up in another domain where DDS does not bring its two nodes together."""
    with contextlib.ExitStack() as stack:
        for left in (2, 1, 0):
            try:
                pair = stack.enter_context(one_robot(*arguments, **options))
                break
            except Waited:
                if not left:
                    raise
        yield pair


@contextlib.contextmanager
def one_robot(files, policy='sure', activate=True, arguments=(), peer=None, **parameters):
    """The node, spun in its own thread, and a peer that has brought it to active."""
    values = {'map': files['map'], 'weights': files[policy], 'max_radius_m': 60.0, **parameters}
    context = rclpy.Context()
    with own_domain() as domain:
        rclpy.init(context=context, domain_id=domain)
        node = lifecycle.LocalizeNode(
            context=context,
            use_global_arguments=False,
            cli_args=['--ros-args', *arguments] if arguments else [],
            parameter_overrides=[Parameter(n, value=v) for n, v in values.items()],
        )
        try:
            with spun(node, context):
                base = Peer(context, **(peer or {}))
                base.meet(MEET_S)
                if activate:
                    assert base.change('configure') and base.change('activate')
                    connect(base, node)
                yield node, base
                base.close()
        finally:
            rclpy.shutdown(context=context)


def knows(node):
    """Whether the active node's side of every topic is matched too: each side of DDS is by itself,
    and what is sent before that gets lost."""
    heard = [node._loaded.outputs.publishers[topic] for topic in ('fix', 'pose', 'hypotheses')]
    return all(s.get_publisher_count() for s in node._inputs.subscriptions[:1]) and all(
        publisher.get_subscription_count() for publisher in heard
    )


def connect(peer, node):
    """Wait until both sides of every topic know each other."""
    peer.connect()
    peer.wait(lambda: knows(node), 'the node to know the peer')


def send(peer, message, kept=None):
    """Publish one image and wait for its fix; returns the fix."""
    kept = peer.fixes if kept is None else kept
    before = len(kept)
    peer.publish_until(lambda: len(kept) > before, message, 'a fix')
    return kept[-1]


def publisher(peer, node, kind, topic):
    """A publisher of the peer whose messages reach the node: both sides know each other."""
    made = peer.node.create_publisher(kind, topic, 10)
    name = peer.node.resolve_topic_name(topic)
    mine = [s for s in node._inputs.subscriptions if s.topic_name == name]
    assert mine, f'the node does not subscribe to {name}'
    peer.wait(made.get_subscription_count, f'the node to be known on {topic}')
    peer.wait(lambda: all(s.get_publisher_count() for s in mine), f'the node to know {topic}')
    return made
