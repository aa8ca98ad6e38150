"""Calls of functions in this process: tasks without Dask, unless one of its graphs takes their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = ["Call", "Held", "as_delayed", "prepared"]


class _Collection:
    """What Dask takes for one of its collections: it becomes one at the moment that Dask asks."""

    @cached_property
    def delayed(self) -> Delayed:
        """The same as a task of Dask's."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__dask_"):
            return getattr(self.delayed, name)
        raise AttributeError(name)


class Call(_Collection):
    """A function that is to be called; among its arguments what is `Held` stands for its value."""

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        self.function = function
        self.arguments = arguments
        self.options = options

    @cached_property
    def delayed(self) -> Delayed:
        """The same as a task of Dask's."""
        from dask.delayed import delayed

        made: Delayed = delayed(self.function)(*self.arguments, **self.options)
        return made


class Held(_Collection):
    """A value that was computed, for the calls that need it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    @cached_property
    def delayed(self) -> Delayed:
        """The same as a task of Dask's."""
        from dask.delayed import delayed

        made: Delayed = delayed(self.value, traverse=False)
        return made


class _WaitingError(Exception):
    """A call needs the value of another one, or of a task of Dask's."""


def prepared(tasks: Sequence[Any]) -> list[Callable[[], Any]] | None:
    """Functions that give the values of tasks; None where that takes Dask, as one waits for another."""
    try:
        return [_prepared(task) for task in tasks]
    except _WaitingError:
        return None


def _prepared(task: Any) -> Callable[[], Any]:
    if isinstance(task, Held):
        return lambda: task.value
    if not isinstance(task, Call):
        raise _WaitingError
    return partial(task.function, *_filled(task.arguments), **_filled(task.options))


def _filled(value: Any) -> Any:
    """The same with values in place of what is held: in lists, tuples, dicts and dataclasses, as in Dask."""
    if isinstance(value, Held):
        return value.value
    if isinstance(value, Call) or hasattr(value, "__dask_graph__"):
        raise _WaitingError
    if type(value) in (list, tuple):
        parts = [_filled(part) for part in value]
        return value if _same(parts, value) else type(value)(parts)
    if type(value) is dict:
        parts = [_filled(part) for part in value.values()]
        return value if _same(parts, value.values()) else dict(zip(value, parts, strict=True))
    if is_dataclass(value) and not isinstance(value, type):
        found = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        full = {name: _filled(part) for name, part in found.items()}
        changed = {name: part for name, part in full.items() if part is not found[name]}
        return replace(value, **changed) if changed else value
    return value


def _same(parts: list[Any], before: Any) -> bool:
    return all(part is one for part, one in zip(parts, before, strict=True))


def as_delayed(task: Any) -> Delayed:
    """A task as one of Dask's."""
    found: Delayed = task.delayed if isinstance(task, _Collection) else task
    return found
