"""A small node of our own that talks to the localizer's node from another process."""

from types import TracebackType
from typing import TypeVar

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

POLL_S = 0.05

Self = TypeVar('Self', bound='Client')


class Client:
    """A node in a context of its own, spun by whoever waits for something.

    Use as a context manager: leaving it frees everything.
    """

    def __init__(self, name: str) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _spin_once(self, timeout_s: float = POLL_S) -> None:
        self._executor.spin_once(timeout_sec=timeout_s)


def publishers_of(node: Node, topic: str) -> list[str]:
    """The full names of the nodes that publish a topic, as far as they are known: they become so
    after their topics."""
    return [
        f'{info.node_namespace.rstrip("/")}/{info.node_name}'
        for info in node.get_publishers_info_by_topic(topic)
        if 'UNKNOWN' not in info.node_name
    ]
