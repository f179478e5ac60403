"""Recording doubles of `launch` and `launch_ros`, for machines without them: not the real thing.

They keep what a launch file says, resolve its arguments, and say with which command line
launch_ros would start a node.
"""

import sys
from types import ModuleType, SimpleNamespace

import yaml

MODULES = {
    'launch': ['LaunchDescription'],
    'launch.actions': [
        'DeclareLaunchArgument',
        'EmitEvent',
        'IncludeLaunchDescription',
        'LogInfo',
        'OpaqueFunction',
        'RegisterEventHandler',
    ],
    'launch.event_handlers': ['OnProcessStart'],
    'launch.events': ['matches_action'],
    'launch.launch_description_sources': ['PythonLaunchDescriptionSource'],
    'launch.substitutions': ['LaunchConfiguration'],
    'launch_ros': [],
    'launch_ros.actions': ['LifecycleNode', 'Node'],
    'launch_ros.event_handlers': ['OnStateTransition'],
    'launch_ros.events': [],
    'launch_ros.events.lifecycle': ['ChangeState'],
}


class Recorded:
    """Anything of launch: its name and what it was made with."""

    def __init__(self, kind, *positional, **named):
        self.kind, self.positional, self.named = kind, positional, named

    def perform(self, context):
        """Of a LaunchConfiguration: its value."""
        return context.values[self.positional[0]]


def install(monkeypatch):
    """Put the doubles where a launch file imports from."""
    for name, classes in MODULES.items():
        module = ModuleType(name)
        for kind in classes:
            setattr(module, kind, _recorder(kind))
        monkeypatch.setitem(sys.modules, name, module)


def _recorder(kind):
    return lambda *positional, **named: Recorded(kind, *positional, **named)


def execute(description, **given):
    """Run a launch description with arguments; returns (declared arguments, started actions).

    Arguments that are not declared, or not among their choices, are refused as launch does.
    """
    (entities,) = description.positional
    sys.modules['launch'].descriptions = [entities]
    declared = {e.positional[0]: e for e in entities if e.kind == 'DeclareLaunchArgument'}
    assert set(given) <= set(declared), f'{set(given) - set(declared)} are no arguments'
    values = {name: given.get(name, e.named.get('default_value')) for name, e in declared.items()}
    for name, value in values.items():
        choices = declared[name].named.get('choices')
        assert choices is None or value in choices, f'{name}:={value} is not one of {choices}'
    context = SimpleNamespace(values=values)
    actions = []
    for entity in entities:
        if entity.kind == 'OpaqueFunction':
            actions.extend(entity.named['function'](context))
    return declared, [resolved(action, context) for action in actions]


def resolved(thing, context):
    """A recorded action with every LaunchConfiguration replaced by its value."""
    if isinstance(thing, Recorded) and thing.kind == 'LaunchConfiguration':
        return thing.perform(context)
    if isinstance(thing, Recorded) and thing.kind in ('LifecycleNode', 'Node'):
        thing.named = {k: resolved(v, context) for k, v in thing.named.items()}
        return thing
    if isinstance(thing, (list, tuple)):
        return type(thing)(resolved(item, context) for item in thing)
    return thing


def command(node, prefix, folder):
    """The command line with which launch_ros starts a recorded node that is installed below
    `prefix`; parameters given as a dictionary become files in `folder`."""
    named = node.named
    line = [f'{prefix}/lib/{named["package"]}/{named["executable"]}', '--ros-args']
    line += ['-r', f'__node:={named["name"]}']
    if named['namespace']:
        line += ['-r', f'__ns:=/{named["namespace"].strip("/")}']
    for number, parameters in enumerate(named['parameters']):
        if isinstance(parameters, dict):
            path = folder / f'parameters_{number}.yaml'
            path.write_text(yaml.safe_dump({'/**': {'ros__parameters': parameters}}))
            parameters = path
        line += ['--params-file', str(parameters)]
    for source, target in named['remappings']:
        line += ['-r', f'{source}:={target}']
    return line
