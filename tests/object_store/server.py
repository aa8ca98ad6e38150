"""An S3 server for tests on 127.0.0.1: Ceph's where its programs are installed, else moto's."""

from __future__ import annotations

import datetime
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import obstore
import psutil
from obstore.store import S3Store

__all__ = ["Server", "object_store"]

Kind = Literal["ceph", "moto"]

REGION = "us-east-1"
SCRIPTS = Path(__file__).parent
PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
WITHOUT_CEPH = (
    "moto's server stands in for Ceph's, and accepts any secret; for Ceph's own: "
    "apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common"
)


@dataclass
class Server:
    """A running S3 server with one bucket, and what can happen to it."""

    kind: Kind
    port: int
    command: list[str]  # runs the gateway, the process that answers, in the foreground
    log: Path
    access_key: str = "test"
    secret_key: str = "secret"
    bucket: str = "bucket"
    _gateway: subprocess.Popen[bytes] = field(init=False, repr=False)

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def keeps_data(self) -> bool:
        """Whether objects outlive a kill: behind Ceph's gateway there are other daemons, moto is alone."""
        return self.kind == "ceph"

    def options(self) -> dict[str, str]:
        """The config of obstore's S3Store and from_url; they need client_options={"allow_http": True} too."""
        return {
            "endpoint": self.endpoint,
            "region": REGION,
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
        }

    def environment(self) -> dict[str, str]:
        """The same for a process whose stores take their settings from the environment."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ALLOW_HTTP": "true",
        }

    def start(self) -> None:
        """Start the gateway and wait until it answers."""
        with self.log.open("ab") as log:
            self._gateway = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while not _answers(self.port):
            if self._gateway.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"{self.command[0]} does not answer; its last words:\n{_tail(self.log)}")
            time.sleep(0.05)

    def pause(self) -> None:
        """Stop the gateway where it is: connections stay open, and nothing answers."""
        self._gateway.send_signal(signal.SIGSTOP)
        while psutil.Process(self._gateway.pid).status() != psutil.STATUS_STOPPED:  # takes a moment
            time.sleep(0.01)

    def go_on(self) -> None:
        """End a pause."""
        self._gateway.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the gateway at once, as a crash does, if it runs."""
        self._gateway.kill()
        self._gateway.wait()

    def restart(self) -> None:
        """Kill the gateway and start it again on its port, with all objects if it `keeps_data`."""
        self.kill()
        self.start()
        if not self.keeps_data:
            self.create_bucket()

    def create_bucket(self) -> None:
        """Make the bucket by a signed request: obstore signs it, but has no function of its own for it."""
        store = S3Store(self.bucket, config=self.options(), client_options={"allow_http": True})
        url = obstore.sign(store, "PUT", "", datetime.timedelta(minutes=5))
        urllib.request.urlopen(urllib.request.Request(url, method="PUT")).close()


@contextmanager
def object_store(folder: Path, kind: Kind | None = None) -> Iterator[Server]:
    """Run a server with an empty bucket and its state in `folder`; with Ceph, if it can be, unless told."""
    if kind is None:
        kind = "ceph" if all(map(shutil.which, PROGRAMS)) else "moto"
        if kind == "moto":
            print(WITHOUT_CEPH, file=sys.stderr)
    with _cluster(folder) if kind == "ceph" else _moto(folder) as server:
        server.start()
        try:
            server.create_bucket()
            yield server
        finally:
            server.kill()


@contextmanager
def _cluster(folder: Path) -> Iterator[Server]:
    """Ceph without its gateway."""
    port, monitor_port = _free_ports(2)
    command = ["radosgw", "-f", "-c", str(folder / "ceph.conf"), "-n", "client.rgw"]
    server = Server("ceph", port, command, folder / "gateway.log")
    settings = {
        "STATE": str(folder),
        "PORT": str(port),
        "MON_PORT": str(monitor_port),
        "KEY": server.access_key,
        "SECRET": server.secret_key,
        "GATEWAY": "no",
    }
    environment = os.environ | settings
    subprocess.run([SCRIPTS / "start.sh"], env=environment, check=True, stdout=subprocess.DEVNULL)
    try:
        yield server
    finally:
        subprocess.run([SCRIPTS / "stop.sh"], env=environment, check=True)


@contextmanager
def _moto(folder: Path) -> Iterator[Server]:
    (port,) = _free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    yield Server("moto", port, command, folder / "gateway.log")


def _free_ports(n_ports: int) -> list[int]:
    """Ports that nothing listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n_ports)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def _answers(port: int) -> bool:
    """Whether an HTTP request is answered, by whatever status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
