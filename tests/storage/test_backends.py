"""From a URL to a store: options, secrets, each way it can refuse, and what S3 does to our calls."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import boto3
import pytest
from object_store.proxy import FaultyProxy

from dkmeans.command.job import JobConfig
from dkmeans.compute.executor import Task
from dkmeans.errors import DkmeansError, InputError, StorageError, UsageError
from dkmeans.storage import access, backends
from dkmeans.storage.access import storage_options
from dkmeans.storage.retries import Retries
from dkmeans.storage.store import Store, StoredObject, open_store
from dkmeans.storage.urls import is_local, resolve_url

SECRET = "hush-9fe1c7"
SYNC = ["--scheduler", "sync"]
ENDPOINTS = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]


@pytest.fixture(autouse=True)
def _fresh_stores():
    """Stores are opened once for a URL and its options; here the environment changes too."""
    backends._REACHED.clear()
    backends._remote_store.cache_clear()
    yield
    backends._REACHED.clear()
    backends._remote_store.cache_clear()


@pytest.fixture
def no_settings(monkeypatch):
    """No option of any cloud in the environment."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)


def opened(url, **options):
    with storage_options(options):
        return Store(url).backend()


# Options


def test_an_option_with_a_prefix_is_for_such_a_store_only(no_settings):
    options = {
        "aws_access_key_id": "key",
        "aws_secret_access_key": SECRET,
        "azure_account_name": "account",
        "azure_account_key": "a2V5",
        "google_service_account_path": "/nowhere.json",
    }
    assert opened("s3://bucket/x", **options).config == {
        "bucket": "bucket",
        "region": "us-east-1",
        "access_key_id": "key",
        "secret_access_key": SECRET,
    }
    azure = opened("az://container/x", **options).config
    assert azure == {"container_name": "container", "account_name": "account", "account_key": "a2V5"}
    with pytest.raises(StorageError, match=r"/nowhere\.json"):  # it alone looks for that file
        opened("gs://bucket/x", **options)
    options.pop("google_service_account_path")
    assert opened("gs://bucket/x", **options).config == {"bucket": "bucket"}
    opened("https://host/x", **options)


@pytest.mark.parametrize(
    "name", ["azure_storage_account_name", "AZURE_STORAGE_ACCOUNT_NAME", "azure_account_name", "account_name"]
)
def test_the_account_of_azure_has_all_its_names(no_settings, name):
    assert opened("az://container/x", **{name: "account"}).config["account_name"] == "account"


def test_an_option_without_a_prefix_is_for_every_store(no_settings):
    assert opened("s3://bucket/x", skip_signature="true").config["skip_signature"] == "true"
    assert opened("gs://bucket/x", skip_signature="true").config["skip_signature"] == "true"


def test_options_of_the_connection_go_apart(no_settings):
    store = opened("s3://bucket/x", timeout="3s", aws_connect_timeout="2s", region="eu-west-1")
    assert store.client_options == {"timeout": "3s", "connect_timeout": "2s"}
    assert store.config == {"bucket": "bucket", "region": "eu-west-1"}
    for url in ("gs://bucket/x", "https://host/x"):
        assert opened(url, user_agent="tests").client_options == {"user_agent": "tests"}


def test_local_and_memory_stores_take_no_option(tmp_path):
    for url in (str(tmp_path / "x"), f"memory://{uuid.uuid4().hex}"):
        with storage_options({"nonsense": "1", "endpoint": "http://192.0.2.1"}):
            Store(url).put("a", b"1")
            assert Store(url).get("a") == b"1"


@pytest.mark.parametrize(
    ("url", "option"),
    [
        ("s3://bucket/x", "secret_acess_key"),
        ("s3://bucket/x", "aws_nonsense"),
        ("gs://bucket/x", "region"),
        ("https://host/x", "endpoint"),
    ],
)
def test_an_option_that_no_store_has_is_named(no_settings, url, option):
    with pytest.raises(UsageError, match=rf"--storage-option {option}: .*no such option") as caught:
        opened(url, **{option: SECRET})
    assert SECRET not in str(caught.value)


def test_a_value_that_cannot_be_parsed(no_settings):
    with pytest.raises(
        StorageError, match=r"s3://bucket/x cannot be used: .*Duration.*Check URL and options"
    ):
        opened("s3://bucket/x", timeout="soon")
    with pytest.raises(StorageError, match=r"s3://bucket/x cannot be used: .*boolean"):
        opened("s3://bucket/x", skip_signature="perhaps")


def test_options_inside_options_are_merged():
    with storage_options({"region": "a", "ENDPOINT": "https://e"}):
        outer = access.current_access()
        assert dict(outer.options) == {"region": "a", "endpoint": "https://e"}
        with storage_options({"Region": "b", "timeout": "1s"}):
            inner = access.current_access()
            assert dict(inner.options) == {"region": "b", "endpoint": "https://e", "timeout": "1s"}
            assert inner.job != outer.job
        assert access.current_access() == outer
    assert access.current_access() == access.Access()


def test_options_of_one_thread_are_not_those_of_another():
    with storage_options({"region": "a"}), ThreadPoolExecutor(1) as pool:
        assert pool.submit(access.current_access).result() == access.Access()


def test_a_store_is_opened_once_for_the_same_options(no_settings):
    first = opened("s3://bucket/x", region="a")
    assert opened("s3://bucket/x", region="a") is first
    assert opened("s3://bucket/x", region="b") is not first


@pytest.mark.parametrize("url", ["s3://", "gs:///", "az://"])
def test_a_url_without_a_bucket_is_no_local_path(url):
    """Else everything would go to a folder ``s3:`` on this machine."""
    assert not is_local(resolve_url(url))


# HTTP without TLS


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"])
def test_plain_http_to_this_machine_is_allowed(no_settings, monkeypatch, endpoint):
    assert opened("s3://bucket/x", endpoint=endpoint).client_options == {"allow_http": "true"}
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert opened("s3://bucket/y").client_options == {"allow_http": "true"}


KEYS = {"access_key_id": "key", "secret_access_key": SECRET}


@pytest.mark.parametrize("name", ["option", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3"])
def test_plain_http_to_another_machine_is_refused_with_the_remedy(no_settings, monkeypatch, name):
    options = dict(KEYS)
    if name == "option":
        options["endpoint"] = "http://192.0.2.1:1"
    else:
        monkeypatch.setenv(name, "http://192.0.2.1:1")
    with (
        storage_options(options),
        pytest.raises(StorageError, match=r"s3://bucket/x: .*expected https://.*allow_http=true") as caught,
    ):
        open_store("s3://bucket/x")
    assert SECRET not in str(caught.value)
    with storage_options({**options, "allow_http": "true"}):
        assert Store("s3://bucket/x").backend().client_options == {"allow_http": "true"}


@pytest.mark.parametrize(("local", "other"), [*itertools.permutations(ENDPOINTS, 2)])
def test_of_two_endpoints_the_one_that_is_used_has_to_be_local(no_settings, monkeypatch, local, other):
    """Nothing goes to another machine in the clear because a further variable names this one."""
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    monkeypatch.setenv(local, f"http://127.0.0.1:{port}")
    monkeypatch.setenv(other, "http://192.0.2.1:1")
    with storage_options({**KEYS, "timeout": "1s"}):
        with pytest.raises(StorageError) as caught:
            open_store("s3://bucket/x")
        used_other = "192.0.2.1" in str(caught.value.__cause__)
    assert not used_other or "expected https://" in str(caught.value)


# Secrets


def test_secrets_are_in_no_repr(no_settings):
    options = {"aws_access_key_id": "key", "aws_secret_access_key": SECRET, "aws_session_token": SECRET}
    with storage_options(options):
        ours = access.current_access()
        task = Task(print)
        shown = [repr(ours), str(ours), repr(task), repr(Store("s3://bucket/x").backend())]
        shown.append(repr(access.tally_of(ours.job)))
    assert not [text for text in shown if SECRET in text]


def test_secrets_of_a_job_file_are_in_no_repr():
    job = JobConfig.from_tables({"storage": {"aws_secret_access_key": SECRET}, "fit": []})
    assert job.storage["aws_secret_access_key"] == SECRET
    assert SECRET not in repr(job)
    assert SECRET not in str(job)


@pytest.mark.parametrize(
    "table",
    [
        {"storage": {"aws_secret_access_key": [SECRET]}},
        {"storage": {"aws_secret_access_key": {"is": SECRET}}},
        {"storage": [{"aws_secret_access_key": SECRET}]},
    ],
)
def test_secrets_of_a_job_file_are_in_no_error(table):
    with pytest.raises(UsageError) as caught:
        JobConfig.from_tables(table)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("az://container/x", {"account_name": "account", "account_key": f"{SECRET}!"}),
        ("gs://bucket/x", {"service_account_key": SECRET}),
        ("gs://bucket/x", {"service_account_key": json.dumps({"private_key": SECRET})}),
        ("s3://bucket/x", {"secret_acess_key": SECRET}),
    ],
)
def test_a_secret_of_the_wrong_form_is_in_no_error(no_settings, url, options):
    with storage_options(options), pytest.raises(DkmeansError) as caught:
        Store(url).backend()
    assert SECRET not in str(caught.value)


# Ways to refuse, as a user meets them


@contextlib.contextmanager
def _closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"https://127.0.0.1:{port}"


@contextlib.contextmanager
def _unreachable():
    """An address where no attempt to connect is answered: its queue is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def _silent():
    """An address that takes every connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


REFUSED = "permission denied.*Check credentials and policy"
REFUSALS = {
    "wrong secret": ({"AWS_SECRET_ACCESS_KEY": SECRET}, None, REFUSED),
    "wrong key": ({"AWS_ACCESS_KEY_ID": "nobody"}, None, REFUSED),
    "anonymous": ({"AWS_SKIP_SIGNATURE": "true"}, None, REFUSED),
    "missing bucket": ({}, None, "there is no such bucket.*create the bucket"),
    "no credentials": (
        {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
        None,
        "found no credentials.*AWS_ACCESS_KEY_ID.*--storage-option",
    ),
    "refused port": ({}, _closed_port, "the store does not answer.*Check the endpoint and the network"),
    "unreachable host": ({}, _unreachable, "the store does not answer.*Check the endpoint and the network"),
    "silent host": ({}, _silent, "the store does not answer.*Check the endpoint and the network"),
}
RUN = """
import sys, time
from dkmeans.command.main import main
import dkmeans, obstore, dkmeans.stages.ingest
began = time.monotonic()
try:
    main(sys.argv[1:])
finally:
    print("seconds", time.monotonic() - began)
"""


USES = ("input", "info", "events")
HANGS = ("no credentials", "refused port", "unreachable host", "silent host")


def _in_another_process(*arguments):
    """A command that may hang, as nothing ends a request: exit code, stdout, stderr, seconds."""
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=20)
    *out, last = found.stdout.splitlines()
    return found.returncode, "\n".join(out), found.stderr, float(last.split()[1])


def _timed(run, *arguments):
    began = time.monotonic()
    return *run(*arguments), time.monotonic() - began


@pytest.mark.parametrize("use", ["output", *(pytest.param(use, marks=pytest.mark.slow) for use in USES)])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_store_that_refuses_is_told_in_seconds(
    s3, s3_url, photos, tmp_path, monkeypatch, dkmeans, refusal, use
):
    if s3.kind == "moto" and refusal in ("wrong secret", "wrong key", "anonymous"):
        pytest.skip("moto accepts any secret")
    environment, endpoint, text = REFUSALS[refusal]
    Store(s3_url).put("images/a.png", (photos / "astronaut.png").read_bytes())
    before = Store(s3_url).list()
    url = s3_url.replace(s3.bucket, "no-such-bucket") if refusal == "missing bucket" else s3_url
    arguments = {
        "output": ["ingest", photos, f"{url}/d", *SYNC],
        "input": ["ingest", f"{url}/images", tmp_path / "d", *SYNC],
        "info": ["info", f"{url}/d"],
        "events": ["ingest", photos, tmp_path / "d", "--events", f"{url}/events.jsonl", *SYNC],
    }[use]
    with contextlib.ExitStack() as stack, monkeypatch.context() as patch:
        if endpoint:
            patch.setenv("AWS_ENDPOINT_URL", stack.enter_context(endpoint()))
        for name, value in environment.items():
            patch.setenv(name, value) if value else patch.delenv(name)
        backends._remote_store.cache_clear()
        backends._REACHED.clear()
        if refusal in HANGS:
            code, out, err, seconds = _in_another_process(*arguments)
        else:
            code, out, err, seconds = _timed(dkmeans, *arguments)
    backends._remote_store.cache_clear()
    assert code == 4
    assert out == ""
    assert len(err.splitlines()) == 1
    assert re.search(rf"^error: {url}[^:]*: .*{text}", err)
    assert SECRET not in err
    assert seconds < 60  # 8 at most alone; what is repeated as later requests are takes 180
    assert Store(s3_url).list() == before
    assert not (tmp_path / "d").exists()


def _client(s3):
    """What can do more than obstore: buckets and their policies."""
    options = {"aws_access_key_id": s3.access_key, "aws_secret_access_key": s3.secret_key}
    return boto3.client("s3", endpoint_url=s3.endpoint, region_name="us-east-1", **options)


@pytest.mark.parametrize("key", ["b//c.png", "new\nline.png", "e/../u.png"])
def test_a_key_that_obstore_does_not_list_is_named_with_the_remedy(s3, s3_url, key):
    Store(s3_url).put("a.png", b"x")
    client, prefix = _client(s3), s3_url.rpartition("/")[2]
    try:
        client.put_object(Bucket=s3.bucket, Key=f"{prefix}/{key}", Body=b"x")
        with pytest.raises(StorageError) as caught:
            Store(s3_url).list()
    finally:
        client.close()
    assert re.search(
        rf"key begins with '{prefix}/.*; expected keys without empty.* Rename it", str(caught.value)
    )
    assert str(caught.value).isprintable()


@pytest.fixture
def public_bucket(s3, s3_url):
    """The URL of a bucket that everybody may list and read."""
    if s3.kind == "moto":
        pytest.skip("moto lets everybody write")
    client, bucket = _client(s3), f"public-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    allowed = {"Effect": "Allow", "Principal": "*", "Action": ["s3:ListBucket", "s3:GetObject"]}
    policy = {"Version": "2012-10-17", "Statement": [{**allowed, "Resource": resources}]}
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    client.close()
    return f"s3://{bucket}/x"


def test_a_write_that_is_forbidden_where_reading_is_not(public_bucket, photos, tmp_path, dkmeans):
    Store(public_bucket).put("images/a.png", (photos / "astronaut.png").read_bytes())
    anonymous = ["--storage-option", "skip_signature=true"]
    code, _, _ = dkmeans("ingest", f"{public_bucket}/images", tmp_path / "d", "--quiet", *anonymous, *SYNC)
    assert code == 0  # public data need no credentials
    code, out, err, seconds = _timed(dkmeans, "ingest", photos, f"{public_bucket}/d", *anonymous, *SYNC)
    assert seconds < 60  # 8 at most alone; what is repeated as later requests are takes 180
    assert (code, out) == (4, "")
    (line,) = err.splitlines()
    assert re.fullmatch(
        rf"error: {public_bucket}/d\S*: permission denied \(AccessDenied\) while creating it\. "
        r"Check credentials and policy\.",
        line,
    )
    assert [found.key for found in Store(public_bucket).list()] == ["images/a.png"]


def test_options_of_the_command_line_reach_the_store(s3, no_settings, photos, dkmeans):
    url = f"s3://{s3.bucket}/{uuid.uuid4().hex}"
    options = [part for item in s3.options().items() for part in ("--storage-option", "=".join(item))]
    code, out, err = dkmeans("ingest", photos, f"{url}/d", "--json", *options, *SYNC)
    assert code == 0, err
    assert json.loads(out)["n_images"] == 5
    assert s3.secret_key not in out + err
    with storage_options(s3.options()):
        assert Store(f"{url}/d").exists("zarr.json")
    code, _, err = dkmeans("info", f"{url}/d", "--storage-option", "aws_nonsense=1")
    assert code == 2
    assert "nonsense" in err


def test_a_job_file_has_options_and_those_of_the_command_line_go_first(
    s3, no_settings, photos, tmp_path, dkmeans
):
    url = f"s3://{s3.bucket}/{uuid.uuid4().hex}"
    options = {**s3.options(), "region": "elsewhere", "endpoint": "https://192.0.2.1", "allow_http": True}
    (tmp_path / "job.toml").write_text(
        f"""
        [cluster]
        scheduler = "sync"
        [storage]
        {"".join(f"{name} = {json.dumps(value)}" + chr(10) for name, value in options.items())}
        [ingest]
        source = "{photos}"
        dataset = "{url}/d"
        """
    )
    given = ["--storage-option", f"endpoint={s3.endpoint}", "--storage-option", "region=us-east-1"]
    code, out, err = dkmeans("run", tmp_path / "job.toml", "--json", *given)
    assert code == 0, err
    assert json.loads(out)["ingest"][0]["dataset"] == f"{url}/d"


# Objects in S3


def test_objects_are_read_in_order_and_errors_are_in_place(s3_url):
    data = {f"{number:03d}": os.urandom(number) for number in range(60)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: Store(s3_url).put(*item), data.items()))
    listed = Store(s3_url).list()
    assert list(Store(s3_url).get_many(listed)) == [Store(s3_url).get(key) for key in data]
    assert list(Store(s3_url).get_many(listed, limit=30)) == [found[:30] for found in data.values()]
    assert list(Store(s3_url).get_many([])) == []
    listed.insert(1, StoredObject("gone", 9))
    listed.append(StoredObject("gone too", 1000))
    for limit in (None, 30):
        found = list(Store(s3_url).get_many(listed, limit))
        assert isinstance(found[1], InputError)
        assert isinstance(found[-1], InputError)
        assert f"{s3_url}/gone: not found" in str(found[1])
        assert [*found[:1], *found[2:-1]] == [whole[:limit] for whole in data.values()]


class Flights:
    """Calls of a function that are under way, and the most there were."""

    def __init__(self, function, seconds=0.01):
        self.function, self.seconds = function, seconds
        self.lock = threading.Lock()
        self.now = self.most = self.total = 0

    def __call__(self, *arguments):
        with self.lock:
            self.now, self.total = self.now + 1, self.total + 1
            self.most = max(self.most, self.now)
        try:
            time.sleep(self.seconds)
            return self.function(*arguments)
        finally:
            with self.lock:
                self.now -= 1


def test_reading_ahead_is_bounded(s3_url):
    store = Store(s3_url, at_a_time=8)
    for number in range(40):
        store.put(f"{number:02d}", bytes(100))
    listed = store.list()
    store.get = Flights(store.get)
    assert len(list(store.get_many(listed))) == 40
    assert 1 < store.get.most <= 8

    for most, bound in ((4, 450), (1, 100), (1, 10)):  # by bytes; one is read however large
        store = Store(s3_url, ahead_bytes=bound)
        store.get = Flights(store.get)
        assert len(list(store.get_many(listed))) == 40
        assert store.get.most <= most


def test_what_is_not_taken_is_not_read(s3_url):
    store = Store(s3_url, at_a_time=4)
    for number in range(30):
        store.put(f"{number:02d}", b"1")
    listed = store.list()
    store.get = Flights(store.get, 0)
    found = store.get_many(listed)
    assert next(found) == b"1"
    time.sleep(0.2)
    assert store.get.total <= 4 + 1
    found.close()
    assert store.get.total <= 4 + 1


def test_reading_ahead_takes_the_options_along(s3, no_settings):
    url = f"s3://{s3.bucket}/{uuid.uuid4().hex}"
    with storage_options(s3.options()):
        Store(url).put("a", b"1")
        Store(url).put("b", b"22")
        job = access.current_access().job
        found = Store(url).get_many(Store(url).list())
        assert list(found) == [b"1", b"22"]
        assert access.tally_of(job).bytes_read == 3


def test_folders_are_listed(s3_url):
    keys = ["a", "b/1", "b/c/2", "bb", "d/e/f/3", "e f/ü#?.png"]
    for key in reversed(keys):
        Store(s3_url).put(key, key.encode())
    assert Store(s3_url).list() == [StoredObject(key, len(key.encode())) for key in keys]
    assert [found.key for found in Store(s3_url).list("b")] == ["b/1", "b/c/2"]
    assert [found.key for found in Store(f"{s3_url}/b").list()] == ["1", "c/2"]
    assert [found.key for found in Store(f"{s3_url}/d/e/f").list()] == ["3"]
    assert Store(f"{s3_url}/none").list() == Store(s3_url).list("none") == []
    Store(f"{s3_url}2").put("beside", b"")
    assert [found.key for found in Store(s3_url).list()] == keys


def test_more_objects_than_one_answer_holds(s3_url):
    keys = [f"{folder}{number:04d}" for folder in ("", "many/") for number in range(1005)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: Store(s3_url).put(key, b"1"), keys))
    assert [found.key for found in Store(s3_url).list()] == sorted(keys)


# Faults on the way


@pytest.fixture
def proxy(s3):
    with FaultyProxy(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture
def through(proxy, s3_url):
    """Everything below goes by way of the proxy; outside of it the same place is seen without faults."""
    with storage_options({"endpoint": proxy.endpoint}):
        yield s3_url


def harmed(proxy, method, *faults):
    """Harm the first requests of one method."""
    left = list(faults)

    def plan(called, path, number):
        return left.pop(0) if called == method and left else None

    proxy.plan(plan)


FAULTS = ["lost", "reset", "503", "503 after"]
SERIES = [(fault,) for fault in FAULTS] + [("lost", "reset"), ("reset", "503 after"), ("503 after", "lost")]


@pytest.mark.parametrize("faults", SERIES, ids=" then ".join)
def test_who_creates_first_wins_whatever_happens_on_the_way(proxy, through, faults):
    harmed(proxy, "PUT", *faults)
    assert Store(through).create("claim", b"ours")
    assert proxy.n_faults == len(faults)
    assert Store(through).list() == [StoredObject("claim", 4)]
    assert Store(through).get("claim") == b"ours"


@pytest.mark.parametrize("faults", SERIES, ids=" then ".join)
def test_who_creates_second_loses_whatever_happens_on_the_way(proxy, through, faults):
    assert Store(through).create("claim", b"theirs")
    harmed(proxy, "PUT", *faults)
    assert not Store(through).create("claim", b"ours")
    assert Store(through).list() == [StoredObject("claim", 6)]
    assert Store(through).get("claim") == b"theirs"


@pytest.mark.parametrize("fault", FAULTS)
def test_of_many_creators_one_wins_whatever_happens_on_the_way(proxy, through, fault):
    left = [fault] * 6
    ours = access.current_access()
    proxy.plan(lambda method, path, number: left.pop() if method == "PUT" and left else None)

    def create(number):
        with access.using(ours):
            return Store(through).create("claim", b"%d" % number)

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(create, range(4)))
    assert won.count(True) == 1
    assert Store(through).get("claim") == b"%d" % won.index(True)


@pytest.mark.parametrize("fault", ["reset", "cut", "503", "lost"])
def test_a_look_at_the_winner_survives_a_fault(proxy, through, fault):
    harmed(proxy, "PUT", "lost")
    plan = proxy._plan
    left = [fault]
    proxy.plan(lambda method, path, number: left.pop() if method == "GET" and left else plan(method, path, 1))
    assert Store(through).create("claim", b"ours")
    assert not left


@pytest.mark.parametrize("fault", ["reset", "lost", "cut", "503", "503 after"])
def test_deleting_survives_one_fault(proxy, through, fault):
    for key in ("a", "b/c"):
        Store(through).put(key, b"1")
    harmed(proxy, "POST", fault)
    Store(through).delete(["a", "b/c", "never there"])
    assert Store(through).list() == []


@pytest.mark.parametrize("fault", ["reset", "lost", "cut", "503", "503 after"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_listing_survives_one_fault(proxy, through, fault, number):
    for key in ("a", "b/c", "d/e"):
        Store(through).put(key, b"1")
    harmed(proxy, "GET", *[None] * number, fault)
    assert [found.key for found in Store(through).list()] == ["a", "b/c", "d/e"]
    assert proxy.n_faults == 1


def test_repeats_of_ours_are_counted(proxy, through):
    harmed(proxy, "PUT", "reset", "reset")
    assert Store(through).create("claim", b"ours")
    assert access.tally_of(access.current_access().job).retries == 2


def test_a_fault_that_lasts_is_an_error_with_the_remedy(proxy, through):
    proxy.plan(lambda method, path, number: "reset")
    with storage_options({"timeout": "1s"}), pytest.raises(StorageError, match=r"does not answer.*--resume"):
        open_store(through)


HASTY = Retries(first_pause=0.001, longest_pause=0.01)
"""Pauses as short as they may be, so that many repetitions take no time."""
WAYS = {
    "read": lambda store: store.get("a") == b"1",
    "read if it is there": lambda store: store.get_or_none("a") == b"1",
    "read a part": lambda store: store.get_range("a", 0, 1) == b"1",
    "read behind the end": lambda store: store.get_range("a", 1, 1) == b"",
    "write": lambda store: store.put("a", b"2") is None,
    "create": lambda store: store.create("b", b"3"),
    "list": lambda store: len(store.list()) == 1,
    "look": lambda store: store.exists("a"),
    "size": lambda store: store.head("a") == 1,
    "delete": lambda store: store.delete(["a"]) is None,
}


@pytest.mark.parametrize("fault", ["reset", "lost", "503"])
@pytest.mark.parametrize("way", WAYS)
def test_a_store_may_be_away_for_long(proxy, through, way, fault):
    """How often a request failed does not end it: a refused connection fails hundreds of times a minute."""
    store = Store(through, retries=HASTY)
    store.put("a", b"1")
    left = [fault] * 40
    proxy.plan(lambda method, path, number: left.pop() if left else None)
    assert WAYS[way](store)
    assert not left


@pytest.mark.parametrize("way", WAYS)
def test_a_store_that_stays_away_is_told_at_last(proxy, through, way):
    store = Store(through, retries=replace(HASTY, seconds=0.5))
    store.put("a", b"1")
    proxy.plan(lambda method, path, number: "reset")
    with pytest.raises(StorageError, match=r"does not answer.*--resume"):
        WAYS[way](store)
    assert proxy.n_faults > 10


def test_only_the_first_url_of_a_bucket_is_asked(proxy, through):
    for place in ("a", "b", "a"):
        open_store(f"{through}/{place}")
    assert proxy.n_requests == 1
    with storage_options({"timeout": "9s"}):
        open_store(through)
    assert proxy.n_requests == 2


def test_a_task_does_not_ask(proxy, through):
    with access.using(replace(access.current_access(), in_task=True)):
        open_store(through)
    assert proxy.n_requests == 0


def test_a_store_that_did_not_answer_is_asked_again(proxy, through):
    proxy.plan(lambda method, path, number: "reset")
    with pytest.raises(StorageError, match="does not answer"):
        open_store(through)
    proxy.plan(lambda *_: None)
    open_store(through)


def test_a_web_server_that_is_not_there_is_told_at_once(no_settings):
    with _closed_port() as endpoint, pytest.raises(StorageError, match="does not answer"):
        open_store(f"{endpoint.replace('https', 'http')}/photos/a.png")


def test_a_web_server_is_there_whatever_it_answers(proxy, no_settings):
    open_store(f"{proxy.endpoint}/no-such-bucket/a.png")  # forbidden, or missing
    assert proxy.n_requests == 1


def test_bytes_are_counted(proxy, through):
    tally = access.tally_of(access.current_access().job)
    Store(through).put("a", bytes(100))
    Store(through).create("b", bytes(50))
    assert (tally.bytes_read, tally.bytes_written) == (0, 150)
    assert not Store(through).create("b", bytes(70))  # nothing was written
    assert tally.bytes_written == 150
    Store(through).get("a")
    Store(through).get_range("a", 90, 20)
    assert tally.bytes_read == 110
    list(Store(through).get_many([StoredObject("a", 100), StoredObject("b", 50)], limit=80))
    assert tally.bytes_read == 110 + 80 + 50
    with storage_options({}):  # another job
        Store(through).get("a")
        assert access.tally_of(access.current_access().job).bytes_read == 100
    assert tally.bytes_read == 240


def test_the_size_of_a_reading_is_that_of_its_bytes(s3_url):
    """A limit that is larger than the object reads the object once, not a range and a size."""
    Store(s3_url).put("a", b"12345")
    store, ranges = Store(s3_url), []
    store.get_range = lambda *arguments: ranges.append(arguments) or b"123"
    (whole,) = store.get_many([StoredObject("a", 5)], limit=5)
    (part,) = store.get_many([StoredObject("a", 5)], limit=3)
    assert (whole, part) == (b"12345", b"123")
    assert ranges == [("a", 0, 3)]
