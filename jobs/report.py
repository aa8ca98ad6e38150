"""Show results on one page of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from dkmeans.config import ReportConfig
from jobs.command import execute, run_alone

__all__ = ["command", "main"]


def command(
    page: Annotated[str, typer.Argument(metavar="PAGE", help="Path of the HTML page to write.")],
    results: Annotated[
        list[str], typer.Argument(metavar="RESULT...", help="URLs of results of compress and reconstruct.")
    ],
    n_images: Annotated[int, typer.Option(help="Images shown per result.")] = 4,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "dkmeans report",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Show results on one page of pictures.

    The HTML page needs no network: originals beside results, codebooks, curves, PSNR, SSIM and bytes.
    """

    def work(_: Any) -> Any:
        config = ReportConfig(page=page, results=results, n_images=n_images, title=title)
        from dkmeans.report.page import write_report

        return write_report(config)

    execute(work, as_json=as_json, quiet=False, debug=debug)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
