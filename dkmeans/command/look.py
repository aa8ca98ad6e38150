"""The commands that look at what lies in storage, and at the machine: info, status, verify, calibrate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pydantic.fields import FieldInfo

from dkmeans.command.commands import new_command
from dkmeans.command.options import option, url_argument
from dkmeans.errors import UsageError

__all__ = ["LOOKS"]

_STORE = "URL of a place of storage to measure besides a temporary folder, such as s3://bucket/prefix."


def _info(reporter: Any, url: str) -> dict[str, Any]:
    from dkmeans.artefacts.kinds import describe

    return describe(url)


def _status(reporter: Any, url: str, watch: bool, every: float | str | None) -> dict[str, Any]:
    from dkmeans.artefacts.status import status

    if every is not None and not watch:
        raise UsageError("--every: found without --watch, which it is for. Add --watch, or leave it out.")
    if not watch:
        return status(url)
    from dkmeans.command.watching import watch_status

    return watch_status(url, reporter, every)


def _verify(reporter: Any, url: str) -> Any:
    from dkmeans.stages.verify import verify

    return verify(url, reporter)


def _calibrate(reporter: Any, store: str | None) -> Any:
    from dkmeans.studies.calibration.study import calibrate

    return calibrate(store, reporter)


LOOKS: dict[str, Callable[[], Callable[..., None]]] = {
    "info": partial(
        new_command,
        _info,
        [url_argument("URL of a dataset, codebook, sweep, coded images, or a folder of images.")],
        """Tell what lies at a URL.

        Kind, config, shapes, chunks, digests; for a codebook its centers_sha256.
        """,
    ),
    "status": partial(
        new_command,
        _status,
        [
            url_argument("URL of an output, complete or not."),
            option(
                "watch", FieldInfo(annotation=bool, default=False, description="Go on until it is complete.")
            ),
            option(
                "every",
                FieldInfo(
                    annotation=float | None, default=None, description="Seconds between two looks. [5]"
                ),
            ),
        ],
        """Tell how far the run is that writes an output.

        Who has claimed it and when, which shards are finished, and of a fit the last iteration in storage.
        With --watch a line is said for each change, on stderr, until the output is complete: on a terminal
        in place of the one before. Nothing in storage tells a run that is slow from one that has died, so
        the line says for how long nothing has changed. Ctrl-C ends it.
        """,
    ),
    "verify": partial(
        new_command,
        _verify,
        [url_argument("URL of an artefact, or of a folder of images that dkmeans wrote.")],
        """Read everything that lies at a URL, and tell what is damaged.

        Compares all checksums and digests of a dataset, codebook, sweep or coded images, or of the files in a
        folder of images. Exits with 3 if any part is not as it was written, and names each.
        """,
    ),
    "calibrate": partial(
        new_command,
        _calibrate,
        [option("store", FieldInfo(annotation=str | None, default=None, description=_STORE))],
        """Measure this machine, for the seconds that --dry-run tells.

        Takes some seconds: Lloyd steps, decoding, encoding, storage, starts. The rates are kept in the cache
        folder of the user, or in the file that DKMEANS_RATES names.
        """,
    ),
}
"""What makes the command of each name."""
