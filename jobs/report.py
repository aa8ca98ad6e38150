"""Show results on one page of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dkmeans.config import ReportConfig
from jobs.command import new_command, run_alone
from jobs.options import argument, option

__all__ = ["command", "main"]

_HELP = """Show results on one page of pictures.

The HTML page needs no network: originals beside results, codebooks, curves, PSNR, SSIM and bytes.
"""


def _run(reporter: Any, **values: Any) -> Any:
    config = ReportConfig(**{name: value for name, value in values.items() if value is not None})
    from dkmeans.report.page import write_report  # here, so that --help does not load the libraries

    return write_report(config)


_FIELDS = ReportConfig.model_fields
_PARAMETERS = [
    argument("page", _FIELDS["page"]),
    argument("results", _FIELDS["results"], list[str], "RESULT..."),
    *(option(name, _FIELDS[name]) for name in ("n_images", "title")),
]

command = new_command(_run, _PARAMETERS, _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
