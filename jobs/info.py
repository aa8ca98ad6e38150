"""Tell what an artefact is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs.command import new_command, run_alone, url_argument

__all__ = ["command", "main"]

_HELP = """Tell what lies at a URL.

Kind, config, shapes, chunks, digests; for a codebook its centers_sha256.
"""


def _run(reporter: Any, url: str) -> dict[str, Any]:
    from dkmeans.artefacts import kinds

    return kinds.describe(url)


command = new_command(_run, [url_argument("URL of a dataset, codebook, sweep, result or archive.")], _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
