"""Patches of a folder of images on a Dask cluster: a codebook, and the images put together from it.

    python jobs/patches_on_cluster.py s3://photos/originals s3://photos/patches --scheduler tls://host:8786

All workers have to reach both URLs. Run it again with --resume after a failure: it goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import distributed

import dkmeans


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    parser = argparse.ArgumentParser(description="Learn a codebook of patches on a Dask cluster.")
    parser.add_argument("source")
    parser.add_argument("out", help="URL of the folder for all that is made")
    parser.add_argument("--scheduler", required=True)
    parser.add_argument("--patch", type=int, default=5)
    parser.add_argument("--clusters", type=int, default=256)
    parser.add_argument("--max-iter", type=int, default=100)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args(argv)
    dataset, codebook, result = (f"{options.out}/{name}.zarr" for name in ("dataset", "codebook", "result"))
    again = {"resume": options.resume}
    with distributed.Client(options.scheduler) as client:
        workers = dkmeans.Distributed(client)
        size = {"patch": (options.patch, options.patch)}
        dkmeans.ingest(dkmeans.IngestConfig(source=options.source, dataset=dataset, **size, **again), workers)
        fitted = dkmeans.fit(
            dkmeans.FitConfig(
                dataset=dataset,
                codebook=codebook,
                on="patches",
                n_clusters=options.clusters,
                max_iter=options.max_iter,
                **again,
            ),
            workers,
        )
        made = dkmeans.reconstruct(
            dkmeans.ReconstructConfig(
                dataset=dataset, codebook=codebook, result=result, images=f"{options.out}/images", **again
            ),
            workers,
        )
    print(f"{fitted.n_rows} patches, {fitted.n_iter} iterations, {fitted.centers_sha256}")
    print(f"{made.n_images} images, mean PSNR {made.mean_psnr:.2f} dB")


if __name__ == "__main__":
    main()
