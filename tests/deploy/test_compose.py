"""compose.yaml, as processes of this machine: the job of job.toml from the bucket to the bucket, with TLS."""

from __future__ import annotations

import signal

import pytest
from deploy.compose import interpolated, project_of
from deploy.running import await_true

from dkmeans.artefacts.kinds import read_any
from dkmeans.storage.store import Store

pytestmark = pytest.mark.slow
MADE = ("photos.zarr", "palette.zarr", "compressed.zarr", "compressed")


def objects(url):
    """Every object below a URL, by its key."""
    store = Store(url)
    return {found.key: store.get(found.key) for found in store.list()}


@pytest.fixture
def project(tmp_path, s3, s3_url, photos):
    """The project, with the photos in its bucket: what the service `bucket` does, by MinIO's program."""
    for file in sorted(photos.rglob("*.*")):
        Store(f"{s3_url}/photos").put(str(file.relative_to(photos)), file.read_bytes())
    with project_of(tmp_path, s3.environment(), s3_url, WORKERS="2", WORKER_MEMORY="1GiB") as project:
        yield project
    assert all(process.poll() is not None for process in project.processes.values())


def test_the_job_runs_and_a_second_up_leaves_its_outputs_as_they_are(project, s3_url):
    project.up()
    assert project.wait() == 0, project.log("job")
    assert len(project.processes) == 4
    made = objects(f"{s3_url}/run")
    assert {key.split("/")[0] for key in made} == set(MADE)
    for number in (1, 2):
        assert "Registered to:      tls://" in project.log("worker", number)
    first = project.processes["job-1"]
    project.up()
    assert project.processes["job-1"] is not first
    assert project.wait() == 0, project.log("job")
    assert objects(f"{s3_url}/run") == made


def test_a_job_that_is_killed_is_started_again_and_goes_on(project, s3_url):
    project.up()
    first = project.processes["job-1"]
    await_true(Store(f"{s3_url}/run/photos.zarr").list, 60, lambda: project.log("job"))
    first.kill()
    assert project.wait() == 0, project.log("job")
    assert first.returncode == -signal.SIGKILL
    for name in ("photos", "palette", "compressed"):
        assert read_any(Store(f"{s3_url}/run/{name}.zarr"))


def test_variables_are_replaced_as_compose_replaces_them():
    text = "a ${A} ${B:-two} ${C:-} $$D $${A}"
    assert interpolated(text, {"A": "one"}) == "a one two  $$D $${A}"
    with pytest.raises(AssertionError, match="copy"):
        interpolated("${E:?copy it}", {})
