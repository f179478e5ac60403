"""A bond with Nav2's lifecycle manager: by it the manager notices that the node has died.

Both sides say on the topic `bond` ten times a second that they are alive. The manager watches the
node, the node does not watch the manager. Needs the messages of the package `bond`, which comes
with Nav2; bondpy is not needed: its `shutdown` leaves destroyed handles to rclpy's executor.
"""

from importlib import import_module
from typing import Any
from uuid import uuid4

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from justzoom_ros.ros.declare import value_of

TOPIC, QUEUE = 'bond', 100
PERIOD_S, TIMEOUT_S = 0.1, 4.0
"""Between two signs of life, and how long to wait for one: those of Nav2's own nodes."""


class ManagerBond:
    """A bond under the node's name, from construction until `close`; `kind` is `bond/Status`."""

    def __init__(self, node: Node, kind: Any) -> None:
        self._node, self._kind, self._mine, self._alive = node, kind, str(uuid4()), True
        self._publisher: Any = node.create_publisher(kind, TOPIC, QUEUE)
        self._subscription: Any = node.create_subscription(kind, TOPIC, self._on_status, QUEUE)
        # Steady: the manager does not wait for simulated time.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(PERIOD_S, self._beat, clock=steady)

    def close(self) -> None:
        """Say that the node takes its leave; after Ctrl-C nobody can be told any more."""
        if self._node.context.ok():
            self._say(False)
        self._node.destroy_timer(self._timer)
        self._node.destroy_subscription(self._subscription)
        self._node.destroy_publisher(self._publisher)

    def _beat(self) -> None:
        if self._alive:
            self._say(True)

    def _on_status(self, message: Any) -> None:
        """The manager ends a bond by saying so until it is answered, and may begin another."""
        if message.id == self._node.get_name() and message.instance_id != self._mine:
            self._alive = message.active
            if not message.active:
                self._say(False)

    def _say(self, active: bool) -> None:
        message = self._kind(id=self._node.get_name(), instance_id=self._mine, active=active)
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.heartbeat_period, message.heartbeat_timeout = PERIOD_S, TIMEOUT_S
        self._publisher.publish(message)


def open_bond(node: Node) -> ManagerBond | None:
    """The bond of an active node, None where the parameter `bond` or a missing package says so."""
    if value_of(node, 'bond') == 'never':
        return None
    try:
        kind = import_module('bond.msg').Status
    # A package called bond that is not ROS's has no messages.
    except (ImportError, AttributeError):
        return None
    return ManagerBond(node, kind)
