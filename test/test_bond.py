"""The bond with Nav2's lifecycle manager. The messages of the package `bond` cannot be installed
here: a class with their fields stands in for them, and a node that only records for the node."""

import sys
import types
from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from justzoom_ros.ros import bond  # noqa: E402


class Status:
    """The fields of bond/msg/Status, and no others."""

    __slots__ = (
        *('header', 'id', 'instance_id', 'active'),
        *('heartbeat_timeout', 'heartbeat_period'),
    )

    def __init__(self, id='', instance_id='', active=False):
        self.id, self.instance_id, self.active = id, instance_id, active
        self.header = SimpleNamespace(stamp=None)


class Node:
    """Records what is made on it and what is said."""

    def __init__(self, choice='auto'):
        self.said, self.made, self.take, self.beat = [], [], None, None
        self.bond, self.runs = choice, True
        self.context = SimpleNamespace(ok=lambda: self.runs)

    def get_name(self):
        return 'justzoom'

    def get_clock(self):
        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: 'now'))

    def get_parameter(self, name):
        return SimpleNamespace(value=getattr(self, name))

    def create_publisher(self, kind, topic, depth):
        self.made.append(topic)
        return SimpleNamespace(publish=self.said.append)

    def create_subscription(self, kind, topic, take, depth):
        self.made.append(topic)
        self.take = take

    def create_timer(self, period_s, beat, clock):
        self.made.append(period_s)
        self.beat = beat

    def _gone(self, thing):
        self.made.pop()

    destroy_timer = destroy_subscription = destroy_publisher = _gone


@pytest.fixture
def package(monkeypatch):
    """Installs the package."""
    messages = types.ModuleType('bond.msg')
    messages.Status = Status
    monkeypatch.setitem(sys.modules, 'bond', types.ModuleType('bond'))
    monkeypatch.setitem(sys.modules, 'bond.msg', messages)


def test_signs_of_life_come_under_the_name_of_the_node_until_it_takes_its_leave(package):
    node = Node()
    made = bond.open_bond(node)
    assert node.made == ['bond', 'bond', 0.1]
    node.beat()
    node.beat()
    first, second = node.said
    assert (first.id, first.active, first.header.stamp) == ('justzoom', True, 'now')
    assert (first.heartbeat_period, first.heartbeat_timeout) == (0.1, 4.0)
    assert first.instance_id == second.instance_id != ''
    made.close()
    assert node.said[-1].active is False and node.made == []
    other = Node()
    made = bond.open_bond(other)
    other.beat()
    assert other.said[0].instance_id != first.instance_id
    other.runs = False  # Ctrl-C ends the context before the node
    made.close()
    assert len(other.said) == 1 and other.made == []


def test_a_manager_that_ends_the_bond_is_answered_and_may_begin_another(package):
    node = Node()
    bond.open_bond(node)
    node.beat()
    mine = node.said[0].instance_id
    for other in (('lidar', 'them', False), ('justzoom', mine, False), ('justzoom', 'them', True)):
        node.take(Status(*other))  # of others, our own, and that they are alive
    assert len(node.said) == 1
    node.take(Status('justzoom', 'them', False))
    node.beat()
    assert [message.active for message in node.said] == [True, False]
    node.take(Status('justzoom', 'they again', True))
    node.beat()
    assert node.said[-1].active is True


def test_without_the_package_or_if_told_so_there_is_no_bond(package, monkeypatch):
    assert bond.open_bond(Node('never')) is None
    # Another package of that name.
    monkeypatch.delattr(sys.modules['bond.msg'], 'Status')
    assert bond.open_bond(Node()) is None
    monkeypatch.setitem(sys.modules, 'bond', None)
    monkeypatch.delitem(sys.modules, 'bond.msg')
    assert bond.open_bond(Node()) is None
