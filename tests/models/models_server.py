"""A server on this machine that hands out one file, with faults to order."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONTENT = bytes(range(256)) * 4096  # 1 MiB


class Server:
    """A server of one file, with faults to order."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.break_after: list[int] = []  # bytes after which each answer breaks off
        self.kind = "application/octet-stream"
        self.status = 0
        self.ranges = True
        self.requests: list[tuple[str, str | None]] = []
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.requests.append((handler.path, asked))
        version = f'"{hashlib.md5(self.content, usedforsecurity=False).hexdigest()}"'
        if self.status or not handler.path.endswith("/file.pth"):
            return handler.send_error(self.status or 404)
        start = 0
        if asked and self.ranges and handler.headers.get("If-Range") == version:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Type", self.kind)
        if start:
            size = len(self.content)
            handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        handler.send_header("ETag", version)
        handler.send_header("Content-Length", str(len(self.content) - start))
        handler.end_headers()
        body = self.content[start:]
        if self.break_after:
            body = body[: self.break_after.pop(0)]
        handler.wfile.write(body)
        handler.close_connection = True
        return None


@contextmanager
def serving(server: Server) -> Iterator[Server]:
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
            http.shutdown()
            thread.join()
