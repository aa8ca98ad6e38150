"""Requests that fail are repeated with growing pauses: so long may a store be away."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import obstore.exceptions

from dkmeans.storage.access import count

__all__ = ["RETRIES", "Retries", "was_lost"]

_T = TypeVar("_T")


def was_lost(error: BaseException) -> bool:
    """Whether the connection broke during a request, or there was none."""
    text = str(error)
    broken = "error sending request" in text or "response body error" in text
    return isinstance(error, obstore.exceptions.BaseError) and broken


@dataclass(frozen=True)
class Retries:
    """For how long a request is repeated, by obstore or, where that does not repeat it, by `call`.

    obstore does not if the request may have been done: creating, deleting; and if a list broke off.

    Attributes
    ----------
    seconds : float
        From the first failure on.
    first_pause : float
        Seconds.
    longest_pause : float
        Seconds, so that a store that has come back is found soon.
    """

    seconds: float = 180.0
    first_pause: float = 0.1
    longest_pause: float = 10.0

    def config(self) -> dict[str, Any]:
        """The same for obstore.

        The seconds are to end it. The pauses are random between the first and `base` times the one before:
        with obstore's own 2 they hardly grow, and its 10 retries of a refused connection are over in 2 or 3
        seconds.
        """
        return {
            "max_retries": 10_000,
            "retry_timeout": timedelta(seconds=self.seconds),
            "backoff": {
                "init_backoff": timedelta(seconds=self.first_pause),
                "max_backoff": timedelta(seconds=self.longest_pause),
                "base": 3,
            },
        }

    def call(self, function: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
        """Call `function`, and again if the connection broke.

        Most calls need no tenacity, whose objects are not for several calls at a time.
        """
        end = time.monotonic() + self.seconds
        try:
            return function(*arguments, **options)
        except obstore.exceptions.BaseError as error:
            if not was_lost(error) or time.monotonic() > end:
                raise
        _count_repetition()
        import tenacity  # here, as it takes a while to load

        return tenacity.Retrying(**self._until(end))(function, *arguments, **options)

    async def call_async(self, function: Callable[..., Awaitable[_T]], *arguments: Any, **options: Any) -> _T:
        """`call` for a coroutine function."""
        end = time.monotonic() + self.seconds
        try:
            return await function(*arguments, **options)
        except obstore.exceptions.BaseError as error:
            if not was_lost(error) or time.monotonic() > end:
                raise
        _count_repetition()
        import tenacity

        return await tenacity.AsyncRetrying(**self._until(end))(function, *arguments, **options)

    def _until(self, end: float) -> dict[str, Any]:
        """How tenacity repeats, until this time of `time.monotonic`."""
        import tenacity

        return {
            "retry": tenacity.retry_if_exception(was_lost),
            "wait": tenacity.wait_exponential(multiplier=self.first_pause, max=self.longest_pause),
            "stop": lambda state: time.monotonic() + state.upcoming_sleep > end,
            "before_sleep": lambda _: _count_repetition(),
            "reraise": True,
        }


RETRIES = Retries()
"""As long as a store may be away."""


def _count_repetition() -> None:
    count(retries=1)
