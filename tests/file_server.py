"""A server on this machine that hands out files, with faults to order."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FileServer:
    """Files by name; every fault is used up by one answer, the first in the list by the next."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.statuses: list[int] = []
        self.cuts: list[int] = []  # bytes after which an answer breaks off
        self.headers: dict[str, str] = {}
        self.kind = "application/octet-stream"
        self.ranges = self.versions = self.lengths = True
        self.wrong_range = False
        self.requests: list[tuple[str, str | None]] = []
        self.url = ""
        self.gate = threading.Event()  # clear it to hold bodies back
        self.gate.set()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name, asked = handler.path.lstrip("/"), handler.headers.get("Range")
        self.requests.append((name, asked))
        if self.statuses or name not in self.files:
            handler.send_response(self.statuses.pop(0) if self.statuses else 404)
            for key, value in self.headers.items():
                handler.send_header(key, value)
            handler.send_header("Content-Length", "0")
            return handler.end_headers()
        content = self.files[name]
        version = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        start = 0
        if asked and self.ranges and handler.headers.get("If-Range") == version:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(content)}")
            handler.send_header("Content-Length", "0")
            return handler.end_headers()
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Type", self.kind)
        if self.versions:
            handler.send_header("ETag", version)
        if start:
            first = start - 1 if self.wrong_range else start
            last = len(content) - 1
            handler.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        if self.lengths:
            handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        self.gate.wait(20)
        body = content[start:]
        with suppress(ConnectionError):  # the client was killed
            handler.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)
        handler.close_connection = True
        return None


@contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, *_args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        try:
            yield server
        finally:
            server.gate.set()
            http.shutdown()
            thread.join()
