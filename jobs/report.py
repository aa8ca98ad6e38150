"""Show results on one page of pictures."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from dkmeans.config import ReportConfig
from jobs.command import new_command, run_alone

__all__ = ["command", "main"]

_HELP = """Show results on one page of pictures.

The HTML page needs no network: originals beside results, codebooks, curves, PSNR, SSIM and bytes.
"""


def _options(
    page: Annotated[str, typer.Argument(metavar="PAGE", help="Path of the HTML page to write.")],
    results: Annotated[
        list[str], typer.Argument(metavar="RESULT...", help="URLs of results of compress and reconstruct.")
    ],
    *,
    n_images: Annotated[int, typer.Option(help="Images shown per result.")] = 4,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "dkmeans report",
) -> None: ...


def _run(reporter: Any, **values: Any) -> Any:
    config = ReportConfig(**values)
    from dkmeans.report.page import write_report  # here, so that --help does not load the libraries

    return write_report(config)


command = new_command(_run, list(inspect.signature(_options, eval_str=True).parameters.values()), _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
