"""Configuration dataclasses as parameters, and back: one parameter for each field, under the
field's own name, with its default, its `Range`, and the docstring below it as its description."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, fields, is_dataclass
from typing import Any, TypeVar

from justzoom_ros.ranges import Range

Config = TypeVar('Config')

START = 'start'
"""Fixed when the node starts (read_only)."""

UNCONFIGURED = 'unconfigured'
"""Used by configure: changed in the unconfigured state only."""

ALWAYS = 'always'
"""Used for every frame: changed at any time."""

NOT_GIVEN = 0.0
"""Stands for None: a ROS parameter always has a value of one type. It must be out of range."""


@dataclass(frozen=True)
class Parameter:
    """One parameter: what it is called and means, and which values and moments are allowed."""

    name: str
    """Its name; dots lead into nested configurations."""

    default: Any
    """Its default, whose type is that of the parameter."""

    text: str
    """What it means, in a sentence or two."""

    changes: str
    """When it may be changed."""

    range: Range | None = None
    """Which numbers it may be."""

    choices: tuple[str, ...] = ()
    """Which words it may be."""

    optional: bool = False
    """NOT_GIVEN stands for a value that is not given."""

    def problem(self, value: Any) -> str:
        """Why it cannot have a value, '' where it can."""
        if self.choices and value not in self.choices:
            return f'{self.name} is {value!r}; it must be one of {", ".join(self.choices)}'
        if self.range is None or (self.optional and value == NOT_GIVEN):
            return ''
        return '' if value in self.range else f'{self.name} is {value:g}; it must be {self.range}'


def field_docs(config_class: type) -> dict[str, str]:
    """{field: the docstring below it} of a dataclass, in one line each, read from its source."""
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(config_class))).body
    body = found.body if isinstance(found, ast.ClassDef) else []
    return {
        line.target.id: ' '.join(below.value.value.split())
        for line, below in zip(body, body[1:], strict=False)
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


def parameters_of(config: Any, prefix: str, changes: str) -> Iterator[Parameter]:
    """The `Parameter`s `prefix`.field of a dataclass and of those nested in it; their defaults are
    the values of `config`."""
    docs = field_docs(type(config))
    for each in fields(config):
        name, value = f'{prefix}.{each.name}', getattr(config, each.name)
        if is_dataclass(value):
            yield from parameters_of(value, name, changes)
        else:
            yield _parameter(name, value, docs[each.name], changes, each)


def _parameter(name: str, value: Any, text: str, changes: str, field: Field[Any]) -> Parameter:
    allowed = field.metadata.get('range')
    if value is not None:
        return Parameter(name, value, text, changes, allowed)
    text = f'{text} {NOT_GIVEN:g} stands for not given.'
    return Parameter(name, NOT_GIVEN, text, changes, allowed, optional=True)


def config_from(config: Config, prefix: str, value: Callable[[str], Any]) -> Config:
    """A configuration like `config` whose fields are the `value(name)` of the parameters that
    `parameters_of` makes of it. Raises ConfigError where they do not go together."""
    found: dict[str, Any] = {}
    for each in fields(config):  # type: ignore[arg-type]
        name = f'{prefix}.{each.name}'
        default: Any = getattr(config, each.name)
        if is_dataclass(default):
            found[each.name] = config_from(default, name, value)
        else:
            given = value(name)
            found[each.name] = None if default is None and given == NOT_GIVEN else given
    return type(config)(**found)
