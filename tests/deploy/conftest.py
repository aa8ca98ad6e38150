"""Certificates, the palette that every cluster has to find, and a Slurm."""

from __future__ import annotations

import subprocess

import pytest
from deploy.nodes import slurm_of
from deploy.running import DEPLOY, dkmeans, write_job


@pytest.fixture
def tls(tmp_path):
    folder = tmp_path / "tls"
    subprocess.run([DEPLOY / "tls/make-certs.sh", folder, "localhost", "127.0.0.1"], check=True)
    return folder


@pytest.fixture(scope="session")
def expected(tmp_path_factory, photos):
    """The palette by a run in one process."""
    job = write_job(tmp_path_factory.mktemp("expected") / "sync", photos)
    return dkmeans("run", job, "--scheduler", "sync", "--json")["fit"][0]["centers_sha256"]


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A Slurm of four nodes, all of them this machine."""
    with slurm_of(tmp_path_factory.mktemp("slurm"), n_nodes=4) as cluster:
        yield cluster
