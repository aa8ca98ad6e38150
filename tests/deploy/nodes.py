"""A Slurm whose nodes are all this machine: its daemons in the foreground, its state in a folder."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from deploy.running import await_true, environment, free_port

__all__ = ["Slurm", "slurm_of"]

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
# Nodes have the cores and memory that job.sbatch asks for, as Slurm is told not to look; no task is bound to
# cores or held in cgroups, which would need rights that a container lacks.
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SlurmdTimeout=5
MpiDefault=none
ReturnToService=2
KillWait=10
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/spool-%n
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
NodeName=node[1-{n_nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port={ports} \\
  CPUs=16 RealMemory=65536 Gres=gpu:4
PartitionName=normal Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass
class Slurm:
    """A running Slurm."""

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, *folders: object, **more: object) -> dict[str, str]:
        """What a process is given to find this Slurm; `folders` come first in its PATH."""
        return environment(*folders, SLURM_CONF=self.folder / "slurm.conf", **more)

    def tell(self, *command: object) -> str:
        """Run one of Slurm's programs; what it prints."""
        words = list(map(str, command))
        result = subprocess.run(words, env=self.environment(), capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job."""
        told = self.tell("scontrol", "show", "job", "--oneliner", number)
        return dict(part.split("=", 1) for part in told.split() if "=" in part)

    def idle(self) -> int:
        """How many nodes answer, and have nothing to do."""
        return self.tell("sinfo", "--Node", "--noheader", "--format=%T").split().count("idle")

    def start(self, name: str, *command: str) -> None:
        """Start a daemon, with a log of its name."""
        with (self.folder / f"{name}.out").open("ab") as out:
            self.daemons[name] = subprocess.Popen(
                command, env=self.environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def start_node(self, name: str) -> None:
        """Start a node, or start it again."""
        self.start(name, "slurmd", "-D", "-N", name)

    def lose(self, name: str) -> None:
        """Kill a node at once, with all that runs on it."""
        self.daemons[name].kill()
        self.daemons[name].wait()
        of_node = {"SLURM_CONF": str(self.folder / "slurm.conf"), "SLURMD_NODENAME": name}
        for process in list(psutil.process_iter()):
            with suppress(psutil.Error):
                if of_node.items() <= process.environ().items():
                    step = process.parent()  # Slurm's own process, which would tell of the end
                    if step is not None and step.name().startswith("slurmstepd"):
                        step.kill()
                    process.kill()

    def stop(self) -> None:
        """Stop the daemons, the first last."""
        for process in reversed(self.daemons.values()):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def slurm_of(folder: Path, n_nodes: int) -> Iterator[Slurm]:
    """Run a Slurm of `n_nodes`, node1 and so on, all of them idle at first."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"no {missing[0]}: apt-get install slurmctld slurmd munge slurm-client")
    if os.geteuid() != 0:
        pytest.skip("no right to run slurmd, which starts the jobs of all users: not root")
    slurm = Slurm(folder)
    _write(folder, n_nodes)
    logs = lambda: "".join(path.read_text() for path in sorted(folder.glob("*.out")))  # noqa: E731
    try:
        files = [
            f"--{name}={folder}/munge.{name}" for name in ("socket", "seed-file", "pid-file", "log-file")
        ]
        slurm.start("munged", "munged", "--foreground", "--force", f"--key-file={folder}/munge.key", *files)
        await_true((folder / "munge.socket").is_socket, 10, logs)
        slurm.start("slurmctld", "slurmctld", "-D", "-i")
        for number in range(1, n_nodes + 1):
            slurm.start_node(f"node{number}")
        await_true(lambda: slurm.idle() == n_nodes, 60, logs)
        yield slurm
        slurm.tell("scancel", "--user=root", "--full")
        await_true(lambda: not slurm.tell("squeue", "--noheader").strip(), 60, logs)
    finally:
        slurm.stop()


def _write(folder: Path, n_nodes: int) -> None:
    folder.chmod(0o755)
    (folder / "state").mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o600)
    ports = ",".join(str(free_port()) for _ in range(n_nodes))
    host = socket.gethostname().partition(".")[0]
    config = CONFIG.format(folder=folder, host=host, port=free_port(), ports=ports, n_nodes=n_nodes)
    (folder / "slurm.conf").write_text(config)
    try:
        for number in range(4):  # four GPUs that are /dev/null by another name
            os.mknod(folder / f"gpu{number}", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no right to make devices, which stand in for GPUs")
    (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-3]\n")
