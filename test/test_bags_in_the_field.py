"""Bags as recorders leave them: unknown topics, wrong metadata, unmerged logs, odd truths."""

import logging
import shutil
import sqlite3
import struct
from contextlib import suppress

import numpy as np
import pytest
import yaml
from PIL import Image
from rosbags.interfaces import Nodetype
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from justzoom_ros.errors import BagError
from justzoom_ros.io.bag_types import check_types
from justzoom_ros.io.bag_writing import truth_message, write_bag
from justzoom_ros.io.bags import IMAGE_TYPES, TRUTH_TYPES, Bag, read_track
from justzoom_ros.io.datasets import GeoImage

STORE = get_typestore(Stores.ROS2_KILTED)
TOPIC, TRUTH = '/camera', '/gps'


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Four images, one a second from 1000 s on."""
    folder = tmp_path_factory.mktemp('images')
    result = []
    for number in range(4):
        path = folder / f'{number}.jpg'
        Image.fromarray(np.full((20, 30, 3), 60 * number, np.uint8)).save(path)
        stamp_ns = (1000 + number) * 10**9
        result.append(GeoImage(path.name, path, 52 + number / 1000, 13.0, stamp_ns, path.name))
    return result


@pytest.fixture
def bag(images, tmp_path):
    """A bag of the four images and their positions, as a folder."""
    write_bag(images, tmp_path / 'flight', TOPIC, TRUTH)
    return tmp_path / 'flight'


def stamps(path, topic=TOPIC):
    """Seconds of the messages of a topic."""
    with Bag(path) as opened:
        return [item.stamp_ns / 1e9 for item in opened.messages([topic])]


def edit_metadata(bag, **values):
    file = bag / 'metadata.yaml'
    metadata = yaml.safe_load(file.read_text())
    metadata['rosbag2_bagfile_information'] |= values
    file.write_text(yaml.safe_dump(metadata))


# --- what is not needed ------------------------------------------------------------------------


def text(value):
    """A string of MCAP: its length and its bytes."""
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack('<I', len(value)) + value


def record(kind, content):
    return struct.pack('<BQ', kind, len(content)) + content


def write_mcap(file, connections, messages):
    """An MCAP file (mcap.dev/spec) without chunks and index: (type, schema encoding, definition,
    topic, message encoding), numbered from 1, and (number, nanoseconds, bytes)."""
    parts = [b'\x89MCAP0\r\n', record(1, text('ros2') + text('test'))]
    for number, (name, encoding, definition, topic, serialization) in enumerate(connections, 1):
        schema = text(name) + text(encoding) + text(definition)
        channel = struct.pack('<HH', number, number) + text(topic) + text(serialization) + text('')
        parts += [record(3, struct.pack('<H', number) + schema), record(4, channel)]
    for number, stamp_ns, raw in messages:
        head = struct.pack('<HIQQ', number, 0, stamp_ns, stamp_ns)
        parts.append(record(5, head + raw))
    parts += [record(15, bytes(4)), record(2, bytes(20)), b'\x89MCAP0\r\n']
    file.write_bytes(b''.join(parts))


KINDS = {
    'json': ('Status', 'jsonschema', b'{"type": "object"}', 'json'),
    'protobuf': ('foxglove.SceneUpdate', 'protobuf', bytes(range(256)), 'protobuf'),
    'service event': ('x/srv/Add_Event', 'ros2msg', b'int64 a\n---\nint64 sum\n', 'cdr'),
    'action': ('x/action/F_FeedbackMessage', 'ros2msg', b'int32 a\n---\nint32 b\n---\n', 'cdr'),
    'damaged': ('x/msg/Damaged', 'ros2msg', b'\x00\x01 = ]', 'cdr'),
    'contradicting': ('sensor_msgs/msg/NavSatFix', 'ros2msg', b'bool other\n', 'cdr'),
}


@pytest.mark.parametrize('kind', KINDS)
def test_a_topic_of_a_kind_that_is_not_known_is_no_obstacle(images, tmp_path, kind, caplog):
    name, encoding, definition, serialization = KINDS[kind]
    file = tmp_path / 'a.mcap'
    with Writer(tmp_path / 'plain', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        first = writer.add_connection(TRUTH, TRUTH_TYPES[0], typestore=STORE)
        definition_of_truth = first.msgdef.data
    messages = []
    for image in images:
        raw = bytes(STORE.serialize_cdr(truth_message(STORE, image), TRUTH_TYPES[0]))
        messages += [(1, image.stamp_ns, raw), (2, image.stamp_ns, b'\x00\x01\x00\x00abcd')]
    write_mcap(
        file,
        [(TRUTH_TYPES[0], 'ros2msg', definition_of_truth.encode(), TRUTH, 'cdr'),
         (name, encoding, definition, '/other', serialization)],
        messages,
    )  # fmt: skip
    assert stamps(file, TRUTH) == [1000, 1001, 1002, 1003]
    if kind in ('json', 'protobuf'):
        with caplog.at_level(logging.WARNING):
            assert stamps(file, '/other') == []
        assert f'/other of bag {file} is left out' in caplog.text and name in caplog.text


EVIL = "__import__('pathlib').Path('evil').touch()"
HOSTILE = {
    'in the name': (f'x/msg/A:\n    {EVIL}\nclass B', b'int32 a\n'),
    'in a docstring': (f'x/msg/A"""\n    {EVIL}\n    """', b'int32 a\n'),
    'in a field': ('x/msg/A', f'int32 a = {EVIL}\n'.encode()),
    'in a constant': ('x/msg/A', f"string C = ' + {EVIL} + '\n".encode()),
    'in a length': ('x/msg/A', f'int32[{EVIL}] a\n'.encode()),
    'in a type': ('x/msg/A', f'x/{EVIL} a\n'.encode()),
}


@pytest.mark.parametrize('where', HOSTILE)
@pytest.mark.parametrize('encoding', ['ros2msg', 'ros2idl'])
def test_code_in_the_definition_of_a_type_is_not_run(tmp_path, monkeypatch, where, encoding):
    monkeypatch.chdir(tmp_path)
    name, definition = HOSTILE[where]
    if encoding == 'ros2idl':
        definition = b'module x { module msg { struct A { ' + definition + b' }; }; };'
    message = (1, 10**9, b'\x00\x01\x00\x00abcd')
    write_mcap(tmp_path / 'a.mcap', [(name, encoding, definition, '/other', 'cdr')], [message])
    with suppress(BagError), Bag(tmp_path / 'a.mcap') as opened:
        list(opened.messages(['/other']))
    assert [path.name for path in tmp_path.iterdir()] == ['a.mcap']


INT = (Nodetype.BASE, ('int32', 0))


@pytest.mark.parametrize(
    'types',
    [
        {f'x/msg/A: {EVIL}': ([], [])},
        {'x/msg/A': ([('C', 'int32', EVIL.encode())], [])},
        {'x/msg/A': ([('C = 1', 'int32', 1)], [])},
        {'x/msg/A': ([], [(f'a: {EVIL}', INT)])},
        {'x/msg/A': ([], [('a', (Nodetype.BASE, (EVIL, 0)))])},
        {'x/msg/A': ([], [('a', (Nodetype.NAME, EVIL))])},
        {'x/msg/A': ([], [('a', (Nodetype.ARRAY, (INT, EVIL)))])},
        {'x/msg/A': ([], [('a', (Nodetype.SEQUENCE, ((Nodetype.NAME, EVIL), 0)))])},
    ],
)
def test_what_parsers_might_let_pass_is_refused_before_it_becomes_code(types):
    with pytest.raises(BagError, match='is no message type'):
        check_types(types)


def test_all_types_of_ros_pass_that_check():
    check_types(STORE.fielddefs)


# --- metadata and files ------------------------------------------------------------------------


@pytest.mark.parametrize('count', [3, 9, 100])
def test_wrong_counts_in_the_metadata_lose_nothing(bag, caplog, count):
    edit_metadata(bag, message_count=count)
    with caplog.at_level(logging.WARNING):
        assert stamps(bag) == [1000, 1001, 1002, 1003]
    assert f'counts {count} messages, its files hold 8' in caplog.text


def test_a_renamed_storage_file_is_found(bag, caplog):
    (bag / 'flight.mcap').rename(bag / 'renamed.mcap')
    with caplog.at_level(logging.WARNING):
        assert stamps(bag) == [1000, 1001, 1002, 1003]
    assert 'flight.mcap; renamed.mcap is read' in caplog.text


def test_a_missing_storage_file_is_named(bag):
    edit_metadata(bag, relative_file_paths=['flight.mcap', 'second.mcap'])
    with pytest.raises(BagError, match='lacks second.mcap'), Bag(bag):
        pass


def test_metadata_that_cannot_be_used_is_told_and_done_without(bag, caplog):
    (bag / 'metadata.yaml').write_text('{')
    with caplog.at_level(logging.WARNING):
        assert stamps(bag) == [1000, 1001, 1002, 1003]
    assert 'metadata.yaml cannot be used' in caplog.text


def test_a_file_without_permission_is_no_damaged_one(bag, monkeypatch):
    """As root every file can be read, so the refusal is made."""

    def refuse(self, *arguments, **options):
        raise PermissionError(13, 'Permission denied', str(self))

    monkeypatch.setattr('pathlib.Path.open', refuse)
    with pytest.raises(BagError, match='flight.mcap cannot be read: Permission denied'), Bag(bag):
        pass


def test_what_is_wrong_is_told_on_one_line(tmp_path):
    file = tmp_path / 'a.mcap'
    file.write_bytes(b'\x89MCAP0\r\n' + bytes(60))
    with pytest.raises(BagError) as caught, Bag(file):
        pass
    assert '\n' not in str(caught.value)


# --- SQLite's log ------------------------------------------------------------------------------


@pytest.fixture
def killed(images, tmp_path):
    """A bag whose recorder was killed: all but the first position are in SQLite's log."""
    plain = tmp_path / 'plain'
    with Writer(plain, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        truths = writer.add_connection(TRUTH, TRUTH_TYPES[0], typestore=STORE)
        raw = STORE.serialize_cdr(truth_message(STORE, images[0]), TRUTH_TYPES[0])
        writer.write(truths, images[0].stamp_ns, raw)
    database = sqlite3.connect(plain / 'plain.db3')
    database.execute('PRAGMA journal_mode=WAL')
    database.execute('PRAGMA wal_autocheckpoint=0')
    for image in images[1:]:
        raw = STORE.serialize_cdr(truth_message(STORE, image), TRUTH_TYPES[0])
        row = 1, image.stamp_ns, bytes(raw)
        database.execute('INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)', row)
    database.commit()
    out = tmp_path / 'killed'
    shutil.copytree(plain, out)  # as it lies on the disk while the recorder still runs
    database.close()
    return out


def test_messages_in_the_log_of_sqlite_are_read(killed, caplog):
    before = {file.name: file.read_bytes() for file in killed.iterdir()}
    with caplog.at_level(logging.WARNING):
        assert stamps(killed, TRUTH) == [1000, 1001, 1002, 1003]
    assert 'plain.db3-wal are read too' in caplog.text
    (killed / 'metadata.yaml').unlink()
    assert stamps(killed, TRUTH) == [1000, 1001, 1002, 1003]
    assert stamps(killed / 'plain.db3', TRUTH) == [1000, 1001, 1002, 1003]
    after = {file.name: file.read_bytes() for file in killed.iterdir()}
    assert after == {name: data for name, data in before.items() if name != 'metadata.yaml'}


# --- truth -------------------------------------------------------------------------------------


def truths(images, tmp_path, *statuses):
    """A bag of the images' positions with statuses."""
    out = tmp_path / 'truths'
    with Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TRUTH, TRUTH_TYPES[0], typestore=STORE)
        for image, status in zip(images, statuses, strict=False):
            message = truth_message(STORE, image)
            message.status.status = status
            raw = STORE.serialize_cdr(message, TRUTH_TYPES[0])
            writer.write(connection, image.stamp_ns, raw)
    return out


def test_a_valid_position_counts_though_its_status_is_unknown(images, tmp_path):
    with Bag(truths(images, tmp_path, -2, 0, -1, 2)) as opened:
        track = read_track(opened, TRUTH)
    np.testing.assert_allclose(track.latitudes, [52, 52.001, 52.003])
    assert track.dropped == 1


def test_of_several_topics_the_one_that_has_messages_is_taken(images, tmp_path):
    out = tmp_path / 'two'
    with Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection('/empty', TRUTH_TYPES[0], typestore=STORE)
        full = writer.add_connection(TRUTH, TRUTH_TYPES[0], typestore=STORE)
        raw = STORE.serialize_cdr(truth_message(STORE, images[0]), TRUTH_TYPES[0])
        writer.write(full, images[0].stamp_ns, raw)
    with Bag(out) as opened:
        assert opened.topic(TRUTH_TYPES) == TRUTH
        with pytest.raises(BagError, match='no topic of type'):
            opened.topic(IMAGE_TYPES)
