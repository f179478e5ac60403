"""The message types that a bag defines in its own text.

`rosbags` writes Python code of parsed definitions and runs it. Its parsers leave nothing in them
that could end one statement and begin another; since bags come from anybody, this is checked
again before any code is made.
"""

import logging
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from rosbags.interfaces import Connection, MessageDefinition, MessageDefinitionFormat, Nodetype
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from justzoom_ros.errors import BagError

log = logging.getLogger(__name__)

WORD = re.compile(r'[A-Za-z_][A-Za-z0-9_]*')
TYPE_NAME = re.compile(rf'{WORD.pattern}(/{WORD.pattern})*')
BASE_TYPES = {
    *('bool', 'byte', 'char', 'octet', 'wchar', 'string', 'wstring', 'float32', 'float64'),
    *('float128', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64'),
}


def make_typestore(connections: Iterable[Connection]) -> Typestore:
    """All types that the connections define in a way that can be parsed; those of ROS itself
    where they define none."""
    return _make_typestore(tuple((c.msgtype, c.msgdef) for c in connections))


# Parsing takes a tenth of a second, and the bags of a robot define the same types.
@lru_cache(maxsize=4)
def _make_typestore(definitions: tuple[tuple[str, MessageDefinition], ...]) -> Typestore:
    store, usual = get_typestore(Stores.EMPTY), get_typestore(Stores.ROS2_KILTED)
    for name, definition in definitions:
        if name in store.fielddefs:
            continue
        # The parsers raise nearly everything there is; a type that is needed is missed later.
        try:
            types = _types_of(definition, name)
            check_types(types)
            store.register(types)
        except Exception as error:
            log.debug(f'type {name} is left out: {error}')
    if not store.fielddefs:
        return usual
    # All of them would take longer than all else: each becomes a class.
    store.register(_missing({name for name, _ in definitions}, store.fielddefs, usual.fielddefs))
    return store


def _missing(wanted: set[str], known: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """Those of the usual types that the wanted ones consist of and that are not known."""
    found: dict[str, Any] = {}
    seen, todo = set(wanted), list(wanted)
    while todo:
        name = todo.pop()
        if name not in known and name in usual:
            found[name] = usual[name]
        _, fields = known.get(name) or usual.get(name) or ((), ())
        new = {_type_of(description) for _, description in fields} - seen
        seen |= new
        todo += new
    return found


def _type_of(description: Any) -> str:
    """The name of the type of a field, or of its elements."""
    kind, value = description
    if kind == Nodetype.NAME:
        return value
    return value[0] if kind == Nodetype.BASE else _type_of(value[0])


def _types_of(definition: MessageDefinition, name: str) -> Any:
    if definition.format == MessageDefinitionFormat.NONE:
        return {}
    if definition.format == MessageDefinitionFormat.MSG:
        return get_types_from_msg(definition.data, name)
    separator = '=' * 80 + '\n'
    if not definition.data.startswith(f'{separator}IDL: '):
        return get_types_from_idl(definition.data)
    types: dict[str, Any] = {}
    for part in definition.data.split(separator)[1:]:
        types.update(get_types_from_idl(part.split('\n', 1)[1]))
    return types


def check_types(types: dict[str, Any]) -> None:
    """Raise BagError unless all that becomes Python code is a name, a number or a text that is
    written as such. `types` is what the parsers of rosbags return: {name: ([(constant, type,
    value)], [(field, description)])}."""
    for name, (constants, fields) in types.items():
        _check(TYPE_NAME.fullmatch(name), name)
        for constant, kind, value in constants:
            _check(WORD.fullmatch(constant) and kind in BASE_TYPES, f'{name}.{constant}')
            _check(type(value) in (bool, int, float, str), f'{name}.{constant}')
        for field, description in fields:
            _check(WORD.fullmatch(field), f'{name}.{field}')
            _check_description(description, f'{name}.{field}')


def _check_description(description: Any, where: str) -> None:
    kind, value = description
    if kind == Nodetype.BASE:
        _check(value[0] in BASE_TYPES and type(value[1]) is int, where)
    elif kind == Nodetype.NAME:
        _check(TYPE_NAME.fullmatch(value), where)
    else:
        _check(kind in (Nodetype.ARRAY, Nodetype.SEQUENCE) and type(value[1]) is int, where)
        _check_description(value[0], where)


def _check(good: Any, where: str) -> None:
    if not good:
        raise BagError(f'the definition of {where!r} is no message type')
