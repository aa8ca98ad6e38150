"""A codebook of the colors, or patches, of a dataset, on a GPU: one worker process for it.

    pip install 'dkmeans[gpu-cuda12]'
    python jobs/gpu.py photos.zarr palette.zarr --clusters 256

The bits are those of the CPU. Several GPUs: start `dask cuda worker` (deploy/README.md) and pass --scheduler.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import dkmeans


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    parser = argparse.ArgumentParser(description="Fit a codebook on a GPU.")
    parser.add_argument("dataset")
    parser.add_argument("codebook")
    parser.add_argument("--clusters", type=int, default=256)
    parser.add_argument("--on", choices=("pixels", "patches"), default="pixels")
    parser.add_argument("--device", choices=("gpu", "cpu", "auto"), default="gpu")
    parser.add_argument("--scheduler", default="local")
    options = parser.parse_args(argv)
    report = dkmeans.fit(
        dkmeans.FitConfig(
            dataset=options.dataset, codebook=options.codebook, n_clusters=options.clusters, on=options.on
        ),
        dkmeans.ClusterConfig(scheduler=options.scheduler, device=options.device),
    )
    print(f"{report.n_rows} {options.on}, {report.n_iter} iterations, inertia {report.inertia:.6g}")
    print(report.centers_sha256)


if __name__ == "__main__":
    main()
