"""Driving a lifecycle node of another process from Python, as a launch file would."""

import time

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor

from justzoom_ros.errors import LiveError

POLL_S = 0.05
TRANSITIONS = {
    name: getattr(Transition, f'TRANSITION_{name.upper()}')
    for name in ('configure', 'activate', 'deactivate', 'cleanup')
}


class LifecycleClient:
    """Asks the lifecycle node `node_name` for transitions. Use as a context manager.

    `alive` says whether the node's process is still there: when it is not, nothing waits for it.
    """

    def __init__(self, node_name, alive=lambda: True, timeout_s=120.0):
        self._node_name, self._alive, self._timeout_s = node_name, alive, timeout_s
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node('justzoom_driver', context=self._context)
        self._service = self._node.create_client(ChangeState, f'{node_name}/change_state')
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def change(self, transition):
        """Take the node through 'configure', 'activate', 'deactivate' or 'cleanup' and return
        when it is through. Raises LiveError where it refuses, stops or does not answer."""
        self._spin_until(self._service.service_is_ready, f'to offer {transition}')
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))
        future = self._service.call_async(request)
        self._spin_until(future.done, f'to {transition}')
        if not future.result().success:
            raise LiveError(f'node {self._node_name} refused to {transition}')

    def _spin_until(self, condition, what):
        end = time.monotonic() + self._timeout_s
        while not condition():
            if not self._alive():
                raise LiveError(f'node {self._node_name} stopped while it had {what}')
            if time.monotonic() > end:
                raise LiveError(
                    f'node {self._node_name} took more than {self._timeout_s:g} s {what}'
                )
            self._executor.spin_once(timeout_sec=POLL_S)
