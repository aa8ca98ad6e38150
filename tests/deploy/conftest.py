"""Certificates, the palette that every cluster has to find, a Slurm, and the schemas of Kubernetes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
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


def strict(schema):
    """A CRD's schema that refuses keys it does not know, as ``kubectl apply`` does."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(part) for key, part in schema.items()}
    if isinstance(made.get("properties"), dict) and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


@pytest.fixture(scope="session")
def check_dask():
    """Validate a DaskJob or DaskCluster by the operator's own definition; nothing of it is imported."""
    jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")
    # Beside the installed packages, as `make setup` puts it there: with them it would want 30 more.
    files = sorted(Path(sys.prefix, "operator").glob("dask_kubernetes/**/crds/*.yaml"))
    if not files:
        pytest.skip("the operator's definitions are not there: make setup")
    validators = {}
    for file in files:
        definition = yaml.load(file.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        (version,) = definition["spec"]["versions"]
        schema = strict(version["schema"]["openAPIV3Schema"])
        schema["properties"] |= {name: {} for name in ("apiVersion", "kind", "metadata")}
        api = f"{definition['spec']['group']}/{version['name']}"
        validators[api, definition["spec"]["names"]["kind"]] = jsonschema.Draft202012Validator(schema)

    def check(manifest):
        validator = validators[manifest["apiVersion"], manifest["kind"]]
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]

    return check


@pytest.fixture(scope="session")
def check_core():
    """Validate an object of Kubernetes itself."""
    package = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")

    def check(manifest):
        package.validate(manifest, package.latest_version(), strict=True)

    return check
