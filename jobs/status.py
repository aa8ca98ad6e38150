"""Tell how far an output is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs.command import new_command, run_alone, url_argument

__all__ = ["command", "main"]

_HELP = """Tell how far the run is that writes an output.

Who has claimed it and when, which shards are finished, and of a fit the last iteration in storage.
"""


def _run(reporter: Any, url: str) -> dict[str, Any]:
    from dkmeans.artefacts.status import status

    return status(url)


command = new_command(_run, [url_argument("URL of an output, complete or not.")], _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
