"""Run a job file on workers that dask-jobqueue asks Slurm for, each in an allocation of its own.

So the job begins with the first worker, and a worker that Slurm takes away is replaced::

    pip install dask-jobqueue
    python deploy/slurm/jobqueue.py job.toml --tls tls --workers 8 --memory 64GiB --queue normal

Call it where a scheduler may run for hours, in a folder that all nodes share.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from dask_jobqueue import SLURMCluster
from distributed import Security


def main() -> int:
    """Start the workers, run the job, and stop the workers; the exit code is the job's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("job", help="the job file")
    parser.add_argument("--tls", type=Path, required=True, help="the folder that make-certs.sh wrote")
    parser.add_argument("--workers", type=int, default=4, help="allocations, one worker each")
    parser.add_argument("--threads", type=int, default=16, help="cores of each")
    parser.add_argument("--memory", default="64GiB", help="memory of each")
    parser.add_argument("--walltime", default="04:00:00", help="time limit of each")
    parser.add_argument("--queue", help="partition; not given, Slurm's default")
    parser.add_argument("--interface", help="network interface such as ib0")
    parser.add_argument("--gpu", action="store_true", help="a GPU for each")
    options = parser.parse_args()

    ca, cert, key = (str(options.tls.absolute() / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    security = Security(
        tls_ca_file=ca,
        tls_scheduler_cert=cert,
        tls_scheduler_key=key,
        tls_worker_cert=cert,
        tls_worker_key=key,
        tls_client_cert=cert,
        tls_client_key=key,
        require_encryption=True,
    )
    with SLURMCluster(
        cores=options.threads,
        processes=1,
        memory=options.memory,
        walltime=options.walltime,
        queue=options.queue,
        interface=options.interface,
        job_extra_directives=["--gres=gpu:1"] if options.gpu else None,
        protocol="tls://",
        security=security,
        scheduler_options={"dashboard_address": "127.0.0.1:0"},
    ) as cluster:
        cluster.adapt(minimum_jobs=options.workers, maximum_jobs=options.workers)  # replaces lost ones
        cluster.wait_for_workers(1)
        where = ["--scheduler", cluster.scheduler_address]
        tls = ["--tls-ca", ca, "--tls-cert", cert, "--tls-key", key]
        return subprocess.run(["dkmeans", "run", options.job, "--resume", *where, *tls]).returncode


if __name__ == "__main__":
    sys.exit(main())
