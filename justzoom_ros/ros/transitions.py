"""Driving a lifecycle node of another process from Python, as a launch file would."""

import time
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.task import Future

from justzoom_ros.errors import LiveError
from justzoom_ros.ros.client import Client

ASK_AGAIN_S = 1.0
TRANSITIONS = {
    name: getattr(Transition, f'TRANSITION_{name.upper()}')
    for name in ('configure', 'activate', 'deactivate', 'cleanup')
}


class LifecycleClient(Client):
    """Asks the lifecycle node `node_name` for transitions. Use as a context manager.

    `alive` says whether the node's process is still there: when it is not, nothing waits for it.
    """

    def __init__(
        self,
        node_name: str,
        alive: Callable[[], bool] = lambda: True,
        timeout_s: float = 120.0,
    ) -> None:
        self._node_name, self._alive, self._timeout_s = node_name, alive, timeout_s
        super().__init__('justzoom_driver')
        self._service: Any = self._node.create_client(ChangeState, f'{node_name}/change_state')
        self._state: Any = self._node.create_client(GetState, f'{node_name}/get_state')

    def change(self, transition: str) -> None:
        """Take the node through 'configure', 'activate', 'deactivate' or 'cleanup' and return
        when it is through. Raises LiveError where it refuses, stops or does not answer."""
        self._meet(transition)
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))
        future = self._service.call_async(request)
        self._spin_until(future.done, f'to {transition}')
        if not future.result().success:
            raise LiveError(f'node {self._node_name} refused to {transition}')

    def _meet(self, transition: str) -> None:
        """Ask for the state until there is an answer. The node may come to know us later than we
        come to know it, and answers until then are lost: a transition is asked for only once."""
        for service in (self._service, self._state):
            self._spin_until(service.service_is_ready, f'to offer {transition}')
        answers: list[Future] = []
        asked_s = -ASK_AGAIN_S

        def is_answered() -> bool:
            nonlocal asked_s
            if time.monotonic() - asked_s > ASK_AGAIN_S:
                answers.append(self._state.call_async(GetState.Request()))
                asked_s = time.monotonic()
            return any(answer.done() for answer in answers)

        self._spin_until(is_answered, f'to answer before {transition}')

    def _spin_until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + self._timeout_s
        while not condition():
            if not self._alive():
                raise LiveError(f'node {self._node_name} stopped while it had {what}')
            if time.monotonic() > end:
                raise LiveError(
                    f'node {self._node_name} took more than {self._timeout_s:g} s {what}'
                )
            self._spin_once()
