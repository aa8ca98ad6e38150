"""The demo: four photos of scikit-image into demo/photos, and the stages of jobs/demo.toml on them.

python jobs/demo.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from skimage import data
from skimage.io import imsave

import dkmeans

JOB = Path(__file__).with_name("demo.toml")


def write_photos(folder: Path) -> None:
    """Write four photos that scikit-image ships."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        imsave(folder / f"{name}.png", getattr(data, name)(), check_contrast=False)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the demo with the arguments `argv`; those of the process by default."""
    parser = argparse.ArgumentParser(description="Run jobs/demo.toml on four photos of scikit-image.")
    parser.add_argument("--scheduler", default="auto", help="where tasks run, as of dkmeans fit")
    options = parser.parse_args(argv)
    job = dkmeans.load_job(str(JOB))
    write_photos(Path(job.stages["ingest"][0].source))
    where = dkmeans.ClusterConfig(scheduler=options.scheduler)
    reports = dkmeans.run_job(job.override(dkmeans.RunConfig(job=str(JOB), overwrite=True), where))
    for stage in ("compress", "reconstruct"):
        found = reports[stage][0]
        print(f"{stage}: {found['n_clusters']} {found['on']}, mean PSNR {found['mean_psnr']:.2f} dB")
    print(f"look at {reports['report'][0]['page']}")


if __name__ == "__main__":
    main()
