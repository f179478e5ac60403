"""The package as colcon and pip see it, and the floors of the house."""

import ast
import functools
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from colcon_support import REPO, colcon, sourced, workspace
from package_sources import PACKAGE, SOURCES, parsed

import justzoom_ros
from justzoom_ros import filtering


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


# --- colcon --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_colcon_takes_it_for_an_ament_python_package():
    """An invalid package.xml would silently make it plain Python."""
    assert colcon('list', cwd=workspace()).split() == ['justzoom_ros', '.', '(ros.ament_python)']


@pytest.mark.slow
@pytest.mark.parametrize(
    'path',
    [
        'share/ament_index/resource_index/packages/justzoom_ros',
        'lib/justzoom_ros/localize',
        'lib/justzoom_ros/justzoom',
        'lib/justzoom_ros/fix_relay',
        'share/justzoom_ros/package.xml',
        'share/justzoom_ros/launch/localize.launch.py',
        'share/justzoom_ros/config/localize.yaml',
        'share/justzoom_ros/config/fastdds.xml',
        'share/justzoom_ros/environment/path.dsv',
        'share/justzoom_ros/environment/path.sh',
        'share/justzoom_ros/maps/nested/deeper/map.tif',
    ],
)
def test_colcon_installs(path):
    assert (workspace() / 'install' / 'justzoom_ros' / path).is_file()


@pytest.mark.slow
def test_all_maps_of_the_repository_are_installed_but_no_caches():
    installed = workspace() / 'install' / 'justzoom_ros' / 'share' / 'justzoom_ros'
    tracked = run('git', 'ls-files', 'maps', cwd=REPO).stdout.split()
    assert all((installed / path).is_file() for path in tracked if '/.' not in path)
    assert not list(installed.rglob('embeddings'))


@pytest.mark.slow
def test_the_installed_package_is_found_and_runs_without_the_repository():
    code = 'import justzoom_ros.io.image_message as m; print(m.__file__)'
    done = run(sys.executable, '-c', code, env=sourced(), cwd='/')
    assert str(workspace()) in done.stdout, done.stderr
    tool = workspace() / 'install' / 'justzoom_ros' / 'lib' / 'justzoom_ros' / 'justzoom'
    done = run(str(tool), '--version', env=sourced(), cwd='/')
    assert done.stdout.strip() == f'justzoom {justzoom_ros.__version__}', done.stderr


@pytest.mark.slow
def test_a_sourced_workspace_has_the_command_on_the_path_and_no_other():
    environment = sourced()
    installed = workspace() / 'install' / 'justzoom_ros' / 'share' / 'justzoom_ros' / 'bin'
    found = shutil.which('justzoom', path=environment['PATH'])
    assert Path(found) == installed / 'justzoom'
    done = run(found, '--version', env=environment, cwd='/')
    assert done.stdout.strip() == f'justzoom {justzoom_ros.__version__}', done.stderr
    assert [path.name for path in installed.iterdir()] == ['justzoom']


VERB = """
import argparse, sys
from importlib.metadata import entry_points
(entry,) = entry_points(group='ros2cli.command', name='justzoom')
command = entry.load()()
parser = argparse.ArgumentParser('ros2')
verb = parser.add_subparsers(dest='verb').add_parser('justzoom')
command.add_arguments(verb, 'ros2 justzoom')
sys.exit(command.main(parser=verb, args=parser.parse_args(['justzoom', *sys.argv[1:]])))
"""
"""What ros2cli does with a command, as far as it matters here."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ('words', 'status', 'says'),
    [
        (['--version'], 0, 'justzoom '),
        (['map', 'build', '--help'], 0, '--center'),
        (['map', 'info', '/nowhere'], 2, '/nowhere'),
    ],
)
def test_ros2_justzoom_passes_every_word_on(words, status, says):
    done = run(sys.executable, '-c', VERB, *words, env=sourced(), cwd='/')
    assert done.returncode == status and says in done.stdout + done.stderr


@pytest.mark.slow
def test_ros2cli_itself_finds_the_verb():
    pytest.importorskip('ros2cli', reason='ros2cli is not installed')
    code = 'import sys; from ros2cli.cli import main; sys.exit(main())'
    done = run(sys.executable, '-c', code, 'justzoom', '--version', env=sourced(), cwd='/')
    assert done.stdout.strip() == f'justzoom {justzoom_ros.__version__}', done.stderr


@pytest.mark.slow
def test_the_ament_index_knows_it():
    packages = pytest.importorskip('ament_index_python.packages')
    found = run(
        sys.executable,
        '-c',
        f'from {packages.__name__} import *; print(get_package_share_directory("justzoom_ros"))',
        env=sourced(),
    )
    assert Path(found.stdout.strip()).samefile(
        workspace() / 'install/justzoom_ros/share/justzoom_ros'
    )


# --- metadata and pip ----------------------------------------------------------------------------


def test_package_xml_is_format_3_of_the_same_version():
    root = ET.parse(REPO / 'package.xml').getroot()
    assert root.get('format') == '3'
    assert root.findtext('name') == 'justzoom_ros'
    assert root.findtext('version') == justzoom_ros.__version__
    assert root.findtext('license') == 'Apache-2.0'
    assert root.findtext('export/build_type') == 'ament_python'


def test_the_citation_is_of_the_same_version():
    cited = yaml.safe_load((REPO / 'CITATION.cff').read_text())
    assert cited['version'] == justzoom_ros.__version__
    assert cited['license'] == 'Apache-2.0'
    assert cited['references'][0]['url'].endswith('2603.25686')


@pytest.mark.slow
def test_package_xml_names_every_ros_package_that_is_imported():
    root = ET.parse(REPO / 'package.xml').getroot()
    named = {element.text for element in root.iter('exec_depend')}
    files = [*PACKAGE.rglob('*.py'), *(REPO / 'launch').glob('*.py')]
    imported = {name.split('.')[0] for path in files for name, _ in imports(path)}
    ros = {n for n in imported if n.endswith(('_msgs', '_srvs', '_interfaces'))}
    ros |= imported & {'rclpy', 'launch', 'launch_ros', 'ament_index_python'}
    assert 'sensor_msgs' in ros and ros <= named


@pytest.mark.slow
def test_pip_puts_the_commands_into_bin(tmp_path):
    """setup.cfg sends them to lib/justzoom_ros, which only colcon shall do."""
    copy = tmp_path / 'copy'
    unwanted = shutil.ignore_patterns('install', 'log', 'build', '__pycache__', '*.egg-info')
    shutil.copytree(workspace(), copy, ignore=unwanted)
    pip = [
        sys.executable,
        '-m',
        'pip',
        'install',
        '-q',
        '--ignore-installed',
        '--no-deps',
        '--no-build-isolation',
    ]
    done = run(*pip, '--no-index', '--prefix', str(tmp_path / 'prefix'), str(copy))
    assert done.returncode == 0, done.stderr
    prefix = tmp_path / 'prefix'
    commands = ['fix_relay', 'justzoom', 'localize']
    assert sorted(path.name for path in (prefix / 'bin').iterdir()) == commands
    assert not (prefix / 'lib' / 'justzoom_ros').exists()
    assert (prefix / 'share/justzoom_ros/maps/nested/deeper/map.tif').is_file()


# --- the floors ----------------------------------------------------------------------------------

FLOORS = (
    ('errors', 'files', 'radii', 'ranges', 'registry', 'region', 'pose', 'version', 'lazy_names'),
    ('maps',),
    ('io', 'plots', 'report'),
    ('models', 'registration'),
    ('inference',),
    ('embeddings',),
    ('runtimes', 'filtering'),
    ('zoom_search', 'registrar', 'forward_registrar'),
    ('localizer',),
    ('tracker',),
    ('live',),
    ('training', 'curation'),
    ('evaluation',),
    ('ros',),
    ('worlds', 'bench'),
    ('cli',),
)
"""Rooms, lowest floor first. A room imports from its own floor and those below."""

FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


@functools.cache
def imports(path):
    """(name, where) of all absolute imports of a file, also those inside functions."""
    return list(found_imports(path))


def statements(node):
    """All statements below a node. Expressions, which hold no imports, are not walked."""
    for name in ('body', 'orelse', 'finalbody', 'handlers', 'cases'):
        for child in getattr(node, name, ()):
            yield child
            yield from statements(child)


def found_imports(path):
    for node in statements(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}:{node.lineno} has a relative import'
            if node.module == 'justzoom_ros':
                yield from ((f'justzoom_ros.{alias.name}', node.lineno) for alias in node.names)
            else:
                yield node.module, node.lineno


def room(path):
    """The room of a file: the first name below the package."""
    return path.relative_to(PACKAGE).with_suffix('').parts[0]


def test_every_room_has_a_floor():
    assert {room(path) for path in SOURCES} - {'__init__'} <= set(FLOOR_OF)


def imports_from_above(path):
    """'file:line imports name' for each import from a higher floor."""
    for name, line in imports(path):
        package, *parts = name.split('.')
        if package != 'justzoom_ros' or not parts:
            continue
        other = justzoom_ros._HOMES.get(parts[0], parts[0]).split('.')[0]
        if FLOOR_OF[other] > FLOOR_OF[room(path)]:
            yield f'{path}:{line} imports {name}'


def test_a_room_imports_only_from_floors_below():
    rooms = [path for path in SOURCES if room(path) != '__init__']
    assert [wrong for path in rooms for wrong in imports_from_above(path)] == []


def ros_packages(path):
    names = {name.split('.')[0] for name, _ in imports(path)}
    return {name for name in names if name == 'rclpy' or name.endswith(('_msgs', '_interfaces'))}


def test_every_file_of_the_ros_room_imports_rclpy_and_no_other_imports_ros():
    files = [path for path in SOURCES if room(path) == 'ros' and path.name != '__init__.py']
    assert files and [path for path in files if 'rclpy' not in ros_packages(path)] == []
    assert [path for path in SOURCES if room(path) != 'ros' and ros_packages(path)] == []


def module_name(path):
    return '.'.join(path.relative_to(REPO).with_suffix('').parts).removesuffix('.__init__')


# The package itself imports its public names on first use only.
MODULES = {module_name(path): path for path in SOURCES if room(path) != '__init__'}


def loaded_modules(path):
    """Modules of the package that a file imports while it is itself imported."""
    found, todo = set(), list(parsed(path).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f'{node.module}.{alias.name}' for alias in node.names}
            found |= inner & set(MODULES) or {node.module}
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            todo += ast.iter_child_nodes(node)
    return found & set(MODULES)


def circle(arrows):
    """The nodes of a circle of arrows {from: {to}}, [] where there is none."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_a_circle_is_found():
    assert set(circle({'a': {'b'}, 'b': {'c'}, 'c': {'b'}})) == {'b', 'c'}
    assert circle({'a': {'b', 'c'}, 'b': {'c'}}) == []


def test_no_modules_import_each_other_in_a_circle():
    assert circle({name: loaded_modules(path) - {name} for name, path in MODULES.items()}) == []


def test_no_rooms_import_each_other_in_a_circle_not_even_inside_functions():
    arrows = {name: set() for name in FLOOR_OF}
    for path in MODULES.values():
        names = {name.split('.')[1] for name, _ in imports(path) if 'justzoom_ros.' in name}
        arrows[room(path)] |= (names & set(FLOOR_OF)) - {room(path)}
    assert circle(arrows) == []


def test_nothing_imports_the_node():
    node = {'justzoom_ros.ros.node', 'justzoom_ros.ros.lifecycle'}
    for path in SOURCES:
        assert room(path) == 'ros' or not node & {name for name, _ in imports(path)}


# --- imports -------------------------------------------------------------------------------------

HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {hidden!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Hidden())
"""


@pytest.mark.slow
def test_every_room_but_ros_is_importable_without_ros_and_tensorrt():
    names = [
        module_name(path) for path in SOURCES if room(path) != 'ros' or path.name == 'node.py'
    ]
    code = HIDE.format(hidden=['rclpy', 'torch_tensorrt', 'rcl_interfaces', 'sensor_msgs'])
    code += f'from importlib import import_module\nfor n in {names!r}: import_module(n)'
    done = run(sys.executable, '-c', code, cwd=REPO)
    assert done.returncode == 0, done.stderr


def test_the_node_without_ros_says_so_in_one_line():
    code = HIDE.format(hidden=['rclpy'])
    code += 'from justzoom_ros.ros.node import main\nsys.exit(main())'
    done = run(sys.executable, '-c', code, cwd=REPO)
    assert done.returncode == 2
    assert done.stderr == ("justzoom: error: No module named 'rclpy'; source your ROS 2 setup\n")


@pytest.mark.parametrize('package', [justzoom_ros, filtering], ids=lambda p: p.__name__)
def test_every_public_name_is_imported_on_first_use_and_known_to_editors(package):
    homes = {name: f'{package.__name__}.{home}' for name, home in package._HOMES.items()}
    assert sorted(homes) == sorted(package.__all__)
    tree = ast.parse(Path(package.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    assert {a.name: node.module for node in guarded.body for a in node.names} == homes
    for name, home in homes.items():
        assert getattr(package, name) is getattr(import_module(home), name)
    assert {*package.__all__, '__name__'} <= set(dir(package))
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute"):
        package.Localiser  # noqa: B018


def test_import_is_instant_and_imports_nothing_heavy():
    code = 'import sys, justzoom_ros; print(*sys.modules)'
    loaded = set(run(sys.executable, '-c', code, cwd=REPO).stdout.split())
    assert 'justzoom_ros' in loaded
    assert not loaded & {'torch', 'rclpy', 'numpy', 'cv2', 'rasterio', 'transformers', 'rosbags'}
    # The interpreter's own count of microseconds spent in the package's files; a loaded machine
    # only adds to it.
    assert min(import_us() for _ in range(5)) < 50_000


@pytest.mark.ros
def test_what_only_listens_beside_the_node_loads_no_torch():
    """It takes seconds and 200 MB on a small computer."""
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    names = ('fix_relay', 'mavlink_bridge', 'view_client')
    parts = ', '.join(f'justzoom_ros.ros.{name}' for name in names)
    code = f'import sys, {parts}; print(*sys.modules)'
    assert 'torch' not in run(sys.executable, '-c', code, cwd=REPO).stdout.split()


def import_us():
    environment = {**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'}
    command = [sys.executable, '-X', 'importtime', '-c', 'import justzoom_ros']
    log = run(*command, cwd=REPO, env=environment).stderr
    return int(re.search(r'\|\s+(\d+) \| justzoom_ros$', log, re.MULTILINE)[1])
