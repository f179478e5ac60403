"""Results appear whole or not at all."""

import os
import subprocess
import sys

import pytest

from justzoom_ros import files
from justzoom_ros.errors import OutputError
from justzoom_ros.files import output_folder, replacing, writing


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_replaced_at_the_end(tmp_path):
    target = tmp_path / 'new' / 'a.json'
    with replacing(target) as path:
        path.write_text('old')
        assert not target.exists()
    with replacing(target) as path:
        path.write_text('new')
        assert target.read_text() == 'old'
    assert target.read_text() == 'new' and names(target.parent) == ['a.json']


def test_a_folder_is_replaced_at_the_end(tmp_path):
    for content in ('old', 'new'):
        with replacing(tmp_path / 'map') as path:
            path.mkdir()
            (path / content).touch()
        assert names(tmp_path) == ['map'] and names(tmp_path / 'map') == [content]


def test_a_folder_is_replaced_where_two_cannot_be_exchanged(tmp_path, monkeypatch):
    monkeypatch.setattr(files, '_exchange', lambda one, other: False)
    test_a_folder_is_replaced_at_the_end(tmp_path)


def test_at_no_time_is_a_folder_that_is_replaced_not_there(tmp_path):
    """Seen by a process that looks as often as it can."""
    (tmp_path / 'map').mkdir()
    look = 'import os, sys\nwhile not os.path.exists("stop"): os.stat("map")'
    with subprocess.Popen([sys.executable, '-c', look], cwd=tmp_path) as seen:
        for _ in range(100):
            with replacing(tmp_path / 'map') as path:
                path.mkdir()
        (tmp_path / 'stop').touch()
    assert seen.returncode == 0


def test_what_killed_writers_left_is_removed_but_not_what_is_being_written(tmp_path):
    dead = subprocess.Popen(['true'])
    dead.wait()
    alive = os.getppid()
    for name in (f'.map.{dead.pid}.partial', f'.map.{dead.pid}.old', f'.map.{alive}.partial'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'map.tif').touch()
    for name in (f'.a.json.{dead.pid}.partial', '.hidden', f'young.{dead.pid}.partial'):
        (tmp_path / name).touch()
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    (tmp_path / f'.b.json.{dead.pid}.partial').touch()
    output_folder(tmp_path)
    assert names(tmp_path) == sorted([
        f'.map.{alive}.partial', '.hidden', f'young.{dead.pid}.partial',
        f'.b.json.{dead.pid}.partial',
    ])  # fmt: skip


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_nothing_half_written_is_left(tmp_path, error):
    (tmp_path / 'a.txt').write_text('old')
    with pytest.raises(error), replacing(tmp_path / 'a.txt') as path:
        path.write_text('half')
        raise error
    with pytest.raises(error), replacing(tmp_path / 'bag') as path:
        path.mkdir()
        (path / 'file').write_text('half')
        raise error
    assert names(tmp_path) == ['a.txt'] and (tmp_path / 'a.txt').read_text() == 'old'


def test_a_full_disk_is_an_output_error(tmp_path):
    says = 'a.txt cannot be written: No space'
    with pytest.raises(OutputError, match=says), writing(tmp_path / 'a.txt') as path:
        path.write_text('half')
        raise OSError(28, 'No space left on device')
    assert names(tmp_path) == []


def test_output_folder(tmp_path):
    assert output_folder(tmp_path / 'a' / 'b').is_dir()
    assert names(tmp_path / 'a' / 'b') == []
    (tmp_path / 'file').write_text('')
    with pytest.raises(OutputError, match='cannot be written'):
        output_folder(tmp_path / 'file')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_read_only_output(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match='Permission denied'):
        output_folder(tmp_path / 'out')


def test_a_new_folder_can_be_entered_by_everybody(tmp_path):
    with replacing(tmp_path / 'map') as temporary:
        temporary.mkdir(mode=0o700)
        (temporary / 'map.yaml').touch()
    assert (tmp_path / 'map').stat().st_mode & 0o777 == 0o755
