"""What `kubectl apply -k` sends for each overlay, by kubectl itself; nothing of it needs a cluster."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml
from deploy.running import DEPLOY

OVERLAYS = DEPLOY / "kubernetes" / "overlays"
NAMES = ["cpu", "cpu-cluster", "gpu", "gpu-cluster"]


def kustomize(folder):
    """The objects that kubectl makes of a folder."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: apt-get install kubernetes-client, of Debian 13 or later")
    told = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True).stdout
    version = re.search(r"v1\.(\d+)", told)
    if version and int(version[1]) < 21:
        pytest.skip(
            f"kubectl {version[0]} is older than 1.21 and knows no components; Debian 12 has none newer"
        )
    result = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    return list(yaml.safe_load_all(result.stdout))


def built(folder):
    """The same by their kinds."""
    return {found["kind"]: found for found in kustomize(folder)}


def pods(objects):
    """The pods of scheduler, worker and job."""
    if "DaskJob" in objects:
        spec = objects["DaskJob"]["spec"]
        cluster, job = spec["cluster"]["spec"], spec["job"]["spec"]
    else:
        cluster, job = objects["DaskCluster"]["spec"], objects["Job"]["spec"]["template"]["spec"]
    return {"scheduler": cluster["scheduler"]["spec"], "worker": cluster["worker"]["spec"], "job": job}


def containers(objects):
    return {name: pod["containers"][0] for name, pod in pods(objects).items()}


def test_every_overlay_is_here():
    assert sorted(path.name for path in OVERLAYS.iterdir()) == sorted([*NAMES, "cpu-daily"])


def test_the_job_of_every_day_has_the_image_of_all(check_core):
    objects = built(OVERLAYS / "cpu-daily")
    assert set(objects) == {"CronJob"}
    check_core(objects["CronJob"])
    (container,) = objects["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == containers(built(OVERLAYS / "cpu"))["job"]["image"]


@pytest.mark.parametrize("name", NAMES)
def test_an_overlay_follows_the_schemas(name, check_dask, check_core):
    objects = built(OVERLAYS / name)
    assert set(objects) == ({"DaskCluster", "Job"} if name.endswith("-cluster") else {"DaskJob"})
    for kind, found in objects.items():
        if kind == "Job":
            check_core(found)
        else:
            assert check_dask(found) == []
    for pod in pods(objects).values():
        check_core({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": pod})


@pytest.mark.parametrize("name", ["cpu", "cpu-cluster"])
def test_workers_on_cpus_are_those_of_the_base(name):
    base = DEPLOY / "kubernetes" / ("cluster" if name.endswith("-cluster") else "job")
    assert built(OVERLAYS / name) == built(base)


@pytest.mark.parametrize("name", ["gpu", "gpu-cluster"])
def test_a_gpu_for_each_worker_and_one_image_for_all(name):
    plain, gpu = (built(OVERLAYS / each) for each in (name.replace("gpu", "cpu"), name))
    before, after = containers(plain), containers(gpu)
    assert {found["image"] for found in after.values()} == {"dkmeans:0.1.0-cuda"}
    for side in ("requests", "limits"):  # a GPU cannot be shared: Kubernetes wants the same in both
        asked = after["worker"]["resources"][side]
        assert asked == {**before["worker"]["resources"][side], "nvidia.com/gpu": "1"}
    assert after["job"]["args"] == [*before["job"]["args"], "--device=gpu"]
    taints = [pod.get("tolerations") for pod in pods(gpu).values()]
    assert taints == [None, [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}], None]


@pytest.mark.parametrize("name", NAMES)
def test_the_registry_stands_in_one_place(name, tmp_path):
    """Once set as the comment in it says, every image is from there, and nothing else has changed."""
    shutil.copytree(DEPLOY / "kubernetes", tmp_path / "kubernetes")
    file = tmp_path / "kubernetes" / name.removesuffix("-cluster") / "kustomization.yaml"
    text = file.read_text()
    assert text.count(" # newName: ") == 1
    file.write_text(text.replace(" # newName: ", "\n    newName: "))
    plain, found = built(OVERLAYS / name), built(tmp_path / "kubernetes/overlays" / name)
    for part, container in containers(plain).items():
        assert containers(found)[part]["image"] == f"registry.example.com/{container['image']}"
    assert str(found).replace("registry.example.com/", "") == str(plain)


def test_what_a_job_needs_is_made_from_files(tmp_path):
    """With a user's own .env and certificates beside what is there."""
    shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns("*.pem", ".env"))
    shutil.copy(DEPLOY / ".env.example", tmp_path / "deploy/.env")
    for name in ("ca", "cert", "key"):
        (tmp_path / f"deploy/tls/{name}.pem").write_text(name)
    found = {(each["kind"], each["metadata"]["name"]) for each in kustomize(tmp_path / "deploy")}
    assert found == {
        *(("ConfigMap", f"dkmeans-{name}") for name in ("job", "daily", "dask")),
        *(("Secret", f"dkmeans-{name}") for name in ("tls", "s3")),
        ("NetworkPolicy", "dkmeans"),
    }
