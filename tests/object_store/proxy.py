"""A proxy that harms chosen requests on their way to an HTTP server."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

__all__ = ["FaultyProxy"]

Fault = Literal["503", "503 after", "reset", "lost", "cut", "slow"]
Plan = Callable[[str, str, int], Fault | Callable[[], object] | None]

SLOW_DOWN = b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>SlowDown</Code></Error>"


class FaultyProxy:
    """An address on 127.0.0.1 that passes requests on to `endpoint`, except those with a fault.

    ============= =============================================================================
    ``503``       is answered "503 Slow Down"; the server never sees the request
    ``503 after`` is answered so although the server did as it was asked
    ``reset``     the connection is reset; the server never sees the request
    ``lost``      the server does as it is asked, and the connection is reset instead of its answer
    ``cut``       the connection ends in the middle of the answer's body
    ``slow``      the answer waits for `delay` seconds
    a function    is called before the request goes on, and others go on meanwhile
    ============= =============================================================================

    Requests and answers keep their bytes, the Host header too, so that signatures stay valid.
    """

    def __init__(self, endpoint: str, *, delay: float = 1.0) -> None:
        self.upstream = urllib.parse.urlsplit(endpoint).netloc
        self.delay = delay
        self._lock = threading.Lock()
        self._server = _Listener(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="faulty-proxy")
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.plan(lambda method, path, number: None)

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()

    def plan(self, plan: Plan) -> None:
        """From now on ask `plan` about each request: its method, path with query, and number from 0."""
        with self._lock:
            self._plan = plan
            self.n_requests = 0
            self.n_faults = 0

    def fault_of(self, method: str, path: str) -> Fault | None:
        """What is to happen to the request that just came in."""
        with self._lock:
            fault = self._plan(method, path, self.n_requests)
            self.n_requests += 1
            self.n_faults += isinstance(fault, str)
        if not callable(fault):
            return fault
        fault()
        return None


class _Listener(ThreadingHTTPServer):
    """A thread for each connection of a client, which answers its requests one after the other."""

    daemon_threads = False  # server_close() waits for them
    request_queue_size = 128

    def __init__(self, proxy: FaultyProxy) -> None:
        self.proxy = proxy
        self.open: set[socket.socket] = set()  # towards clients and the server
        super().__init__(("127.0.0.1", 0), _Request)

    def close_connections(self) -> None:
        """Wake all threads that wait for a client or the server."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        self.close_request(request)  # without the orderly end that comes first otherwise


class _Request(BaseHTTPRequestHandler):
    """The requests of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, http.client.HTTPException):  # the client or the server is gone
            self.reset()

    def answer(self) -> None:
        body = self.read_body()
        fault = self.server.proxy.fault_of(self.command, self.path)
        if fault not in ("503", "reset"):
            status, reason, headers, content = self.forward(body)
        if fault in ("503", "503 after"):
            status, reason, content = 503, "Slow Down", SLOW_DOWN
            headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))]
        elif fault in ("reset", "lost"):
            return self.reset()
        elif fault == "slow":
            time.sleep(self.server.proxy.delay)
        elif fault == "cut":
            content = content[: len(content) // 2]
            self.close_connection = True
        return self.send(status, reason, headers, b"" if self.command == "HEAD" else content)

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = answer

    def read_body(self) -> bytes:
        """The bytes of the request's body, with the sizes of its chunks if it comes in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        size = -1
        while size != 0:
            parts.append(self.rfile.readline())
            size = int(parts[-1].split(b";")[0], 16)
            parts.append(self.rfile.read(size + 2) if size else b"")
        while parts[-1] != b"\r\n":
            parts.append(self.rfile.readline() or b"\r\n")
        return b"".join(parts)

    def forward(self, body: bytes) -> tuple[int, str, list[tuple[str, str]], bytes]:
        """The server's answer. Each request has a connection of its own: none is ever stale."""
        connection = http.client.HTTPConnection(self.server.proxy.upstream, timeout=60)
        connection.connect()
        upstream = connection.sock
        self.server.open.add(upstream)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
            headers = [
                (name, value)
                for name, value in answer.getheaders()
                if name.lower() not in ("connection", "transfer-encoding")
            ]
            has_body = self.command != "HEAD" and answer.status not in (204, 304)
            if has_body and answer.getheader("Content-Length") is None:  # it came in chunks
                headers.append(("Content-Length", str(len(content))))
            return answer.status, answer.reason, headers, content
        finally:
            self.server.open.discard(upstream)
            connection.close()

    def send(self, status: int, reason: str, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status, reason)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def reset(self) -> None:
        """Make the end of this connection a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass
