"""Tables of what can be chosen by name: a new choice is a new file and one line here or there.

An entry is the thing itself or where it is found, 'package.module:name', which is imported when it
is first asked for. So the names can be listed without loading what stands behind them.
"""

from importlib import import_module
from typing import Generic, TypeVar

from justzoom_ros.errors import ConfigError, JustZoomError

T = TypeVar('T')


class Registry(Generic[T]):
    """The choices of one kind, in the order in which users see them.

    >>> tools = Registry('tool', {'join': 'os.path:join'})
    >>> tools.list(), tools.get('join')('a', 'b')
    (('join',), 'a/b')
    """

    def __init__(
        self, kind: str, entries: dict[str, str | T], error: type[JustZoomError] = ConfigError
    ) -> None:
        """`kind` is what a message calls such a thing; `error` is raised for an unknown name."""
        self.kind, self.entries, self._error = kind, dict(entries), error

    def list(self) -> tuple[str, ...]:
        """All names."""
        return tuple(self.entries)

    def get(self, name: str) -> T:
        """What stands behind a name. Raises the registry's error for a name that it lacks."""
        self.check(name)
        entry = self.entries[name]
        if isinstance(entry, str):
            module, _, attribute = entry.partition(':')
            entry = self.entries[name] = getattr(import_module(module), attribute)
        return entry

    def check(self, name: str) -> None:
        """Raises the registry's error, with all names, unless it has this one."""
        if name not in self.entries:
            names = ', '.join(self.entries)
            raise self._error(f'{self.kind} {name!r} is not known; choose of {names}')

    def register(self, name: str, entry: str | T) -> None:
        """Add a choice while the program runs. Raises ConfigError where the name is taken."""
        if name in self.entries:
            raise ConfigError(f'{self.kind} {name!r} is there already; choose another name')
        self.entries[name] = entry
