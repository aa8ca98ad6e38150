"""Read everything again, and tell what is damaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs.command import new_command, run_alone, url_argument

__all__ = ["command", "main"]

_HELP = """Read everything that lies at a URL, and tell what is damaged.

Compares all checksums and digests of a dataset, codebook, sweep, result or archive, or of the files that
quantize wrote. Exits with 3 if any part is not as it was written, and names each.
"""


def _run(reporter: Any, url: str) -> Any:
    from dkmeans.stages.verify import verify

    return verify(url, reporter)


command = new_command(_run, [url_argument("URL of an artefact, or of a folder that quantize wrote.")], _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
