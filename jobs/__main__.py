"""The ``dkmeans`` command: every job under one name."""

from __future__ import annotations

from collections.abc import Sequence

from jobs import compress, fit, info, ingest, pipeline, reconstruct, report
from jobs.command import new_app

__all__ = ["app", "main"]

app = new_app(
    no_args_is_help=True,
    help="""Learn a codebook from a collection of images by exact k-means, and write the images back.

    A job goes: ingest, fit, compress or reconstruct, report. Each command has its own --help.""",
)
app.command("ingest")(ingest.command)
app.command("fit")(fit.command)
app.command("compress")(compress.command)
app.command("reconstruct")(reconstruct.command)
app.command("report")(report.command)
app.command("info")(info.command)
app.command("run")(pipeline.command)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command with the arguments `argv`; those of the process by default."""
    app(args=None if argv is None else list(argv))


if __name__ == "__main__":
    main()
