"""What the documentation names is there: files, modules, commands and their options."""

import re
from functools import cache
from pathlib import Path

import pytest
from colcon_support import REPO
from package_sources import PACKAGE, SOURCES

from justzoom_ros.cli.main import build_parser

DOCS = sorted(
    [*REPO.glob('*.md'), *(REPO / 'docs').glob('*.md'), *(REPO / 'examples').glob('*.md')]
)
OURS = ('docs/', 'config/', 'launch/', 'maps/demo', 'maps/city', 'test/', 'examples/', '.ci/',
        'justzoom_ros/', 'resource/')  # fmt: skip
"""How paths of this repository begin. Other paths in examples are the reader's own."""
STRANGERS = {'gdal_edit.py', 'OpenDroneMap'}
"""Programs of others."""

each_doc = pytest.mark.parametrize('path', DOCS, ids=lambda path: str(path.relative_to(REPO)))


def code(text):
    """All code of a Markdown text: spans, and indented or fenced lines with `\\` joined."""
    text = re.sub(r'\\\n\s*', ' ', text)
    fenced = re.findall(r'^```\w*\n(.*?)^```', text, re.MULTILINE | re.DOTALL)
    blocks = '\n'.join(fenced) + '\n' + '\n'.join(re.findall(r'^ {4}(.+)$', text, re.MULTILINE))
    return [*re.findall(r'`([^`\n]+)`', text), *blocks.splitlines()]


def options_of(parser):
    return {option for action in parser._actions for option in action.option_strings}


def subcommands(parser):
    choices = (action.choices for action in parser._actions if hasattr(action, 'add_parser'))
    return next(choices, {})


@cache
def whole_parser():
    return build_parser()


def unknown_in_command(words):
    """The words of `justzoom ...` that it does not know: its commands and --options."""
    parser, words = whole_parser(), list(words)
    while words and subcommands(parser) and re.fullmatch(r'[a-z]+', words[0]):
        if words[0] not in subcommands(parser):
            return [words[0]]
        parser = subcommands(parser)[words.pop(0)]
    named = {word.partition('=')[0] for word in words if re.match(r'--[a-z]', word)}
    return sorted(named - options_of(parser))


@each_doc
def test_every_link_leads_to_a_file(path):
    targets = re.findall(r'\]\(([^)#\s]+)[^)]*\)', path.read_text())
    ours = [target for target in targets if '://' not in target]
    assert [target for target in ours if not (path.parent / target).exists()] == []


@each_doc
def test_every_source_file_and_path_of_ours_is_there(path):
    everywhere = {file.name for folder in ('justzoom_ros', 'test', 'launch') for file in
                  (REPO / folder).rglob('*.py')}  # fmt: skip
    missing = []
    for span in code(path.read_text()):
        for word in re.findall(r'(?<![\w$/<{}*-])[\w.][\w./-]*', span):
            word = word.rstrip('.')
            there = (REPO / word).exists() or (PACKAGE / word).exists()
            if word.endswith('.py') and word not in STRANGERS:
                missing += [word] * (not there and word not in everywhere)
            elif word.startswith(OURS):
                missing += [word] * (not there and not list(REPO.glob(word + '*')))
    assert missing == []


@each_doc
def test_every_module_is_there(path):
    text = path.read_text()
    names = set(re.findall(r'python -m (justzoom_ros[\w.]*)', text))
    names |= set(re.findall(r'from (justzoom_ros[\w.]*) import', text))
    homes = {name: REPO / Path(*name.split('.')) for name in names}
    missing = [n for n, home in homes.items() if not home.is_dir() and not
               home.with_suffix('.py').is_file()]  # fmt: skip
    assert missing == []


@cache
def members():
    """{class of the package: the words of its text}, names of methods and fields among them."""
    found = {}
    for name, body in re.findall(
        r'^class (\w+)(.*?)(?=^[^\s)]|\Z)', sources(), re.DOTALL | re.MULTILINE
    ):
        found.setdefault(name, set()).update(re.findall(r'\w+', body))
    return found


@each_doc
def test_every_class_has_the_member_that_is_named(path):
    known = members()
    spans = [re.match(r'([A-Z]\w+)\.([a-z]\w*)', span) for span in code(path.read_text())]
    named = [span.groups() for span in spans if span and span[1] in known]
    assert [name for name in named if name[1] not in known[name[0]]] == []


@cache
def sources():
    return '\n'.join(path.read_text() for path in SOURCES)


@pytest.mark.parametrize(
    'path', [p for p in DOCS if p.name != 'CHANGELOG.md'], ids=lambda p: p.name
)
def test_every_class_that_is_named_occurs_in_the_code(path):
    """Those of ROS too, such as NavSatFix. The changelog may speak of what is no more."""
    spans = ' '.join(code(path.read_text()))
    names = set(re.findall(r'(?<![\w/.-])[A-Z][a-z]+(?:[A-Z][a-z]+)+(?![\w/-])', spans))
    assert sorted(name for name in names - STRANGERS if name not in sources()) == []


@each_doc
def test_every_command_and_option_is_known(path):
    problems = []
    for line in code(path.read_text()):
        for command in re.findall(r'(?:^|[;&|] *)justzoom ([^#;&|]*)', line):
            problems += [(command, word) for word in unknown_in_command(command.split())]
    assert problems == []


def test_an_unknown_command_or_option_is_found():
    assert unknown_in_command(['fly']) == ['fly']
    assert unknown_in_command(['map', 'show', 'maps/demo', '--colour']) == ['--colour']
    assert unknown_in_command(['map', 'show', 'maps/demo', '-o', 'x.png', '--levels', '1']) == []


def test_every_room_is_described_in_the_architecture():
    text = (REPO / 'docs' / 'architecture.md').read_text()
    rooms = [path.name + '/' * path.is_dir() for path in PACKAGE.iterdir()]
    rooms = [room for room in rooms if not room.startswith('_') and room.endswith(('.py', '/'))]
    assert [room for room in rooms if f'`{room}`' not in text] == []
