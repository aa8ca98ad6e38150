"""An S3 server behind a proxy, and an undisturbed run to compare with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.place import Outputs, stored
from object_store.proxy import FaultyProxy
from object_store.server import Server

from dkmeans.command.main import main
from dkmeans.storage.store import Store


def run(arguments: list[str]) -> None:
    """The command in this process; it must succeed."""
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--scheduler", "sync", "--quiet"])
    assert not caught.value.code, arguments


@pytest.fixture(scope="session")
def undisturbed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """What each stage leaves behind, made on local files by this process alone."""
    outputs = Outputs(str(photos), str(tmp_path_factory.mktemp("undisturbed")))
    for stage in ("ingest", "fit", "palette", "compress", "reconstruct"):
        run(outputs.command(stage))
    return {stage: stored(outputs.url(stage)) for stage in ("ingest", "fit", "compress", "reconstruct")}


@pytest.fixture
def proxy(s3: Server, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy before the S3 server, which everything that starts in this test goes through."""
    with FaultyProxy(s3.endpoint, delay=0.2) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


@pytest.fixture
def outputs(photos: Path, s3_url: str, proxy: FaultyProxy) -> Outputs:
    """Photos and a place for outputs, both in a bucket."""
    for file in sorted(photos.rglob("*.*")):
        Store(f"{s3_url}/photos").put(str(file.relative_to(photos)), file.read_bytes())
    return Outputs(f"{s3_url}/photos", f"{s3_url}/out")
