"""Images of one folder to few colors in another; both may lie in object storage.

    python jobs/folder_to_folder.py s3://photos/originals s3://photos/small --colors 64

Credentials come from the environment (AWS_ACCESS_KEY_ID and so on). Run it again with --resume after a
failure: what is there is kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import dkmeans


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    parser = argparse.ArgumentParser(description="Reduce the images of a folder to few colors.")
    parser.add_argument("source")
    parser.add_argument("destination")
    parser.add_argument("--colors", type=int, default=64)
    parser.add_argument("--max-skipped", default=0, help="images that may be damaged: N, 5%% or all")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--scheduler", default="auto", help="where tasks run, as of dkmeans quantize")
    options = parser.parse_args(argv)
    report = dkmeans.quantize(
        dkmeans.QuantizeConfig(
            source=options.source,
            destination=options.destination,
            n_clusters=options.colors,
            max_skipped=options.max_skipped,
            resume=options.resume,
        ),
        dkmeans.ClusterConfig(scheduler=options.scheduler),
    )
    print(f"{report.n_images} images, {report.source_bytes} bytes before, {report.stored_bytes} after")
    for image in report.images:
        print(image.key, image.n_source_colors, "colors before,", image.n_colors, "after")


if __name__ == "__main__":
    main()
