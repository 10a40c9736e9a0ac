"""A Hub on this machine: enough of its HTTP API for the real client, with faults to order.

Files are kept as the Hub keeps them: large ones by SHA-256, small ones by git hash; a commit is a
mapping of paths to such hashes.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_secretsecretsecretsecretsecretsecret"
LICENCES = ("apache-2.0", "mit", "cc-by-nc-4.0")
"""A few of those that the Hub knows; it refuses cards with others."""
LARGE = (".safetensors", ".onnx", ".png", ".jpg", ".bin", ".pth")


@dataclass
class Fault:
    """What happens to requests whose method and path match, `times` of them."""

    pattern: str
    status: int = 0
    cut: int = -1  # bytes after which an answer, or the reading of a request, breaks off
    corrupt: bool = False
    code: str = ""  # X-Error-Code
    message: str = ""
    times: int = 10**9


@dataclass
class Repository:
    private: bool = False
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, str]] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, str]) -> str:
        number = f"{branch} {len(self.commits)} {sorted(files.items())}"
        sha = hashlib.sha1(number.encode(), usedforsecurity=False).hexdigest()
        self.commits[sha], self.branches[branch] = files, sha
        return sha


def git_hash(content: bytes) -> str:
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


class Hub:
    """Repositories, blobs by hash, every request seen, and the faults to come."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.uploads: list[str] = []
        self.url = ""

    def put(self, name: str, files: dict[str, bytes], branch: str = "main", **kind: bool) -> str:
        """Commit `files` as all there is in a repository; returns the commit."""
        repository = self.repositories.setdefault(name, Repository(**kind))
        kept = {path: self.keep(path, content) for path, content in files.items()}
        return repository.commit(branch, kept)

    def files(self, name: str, branch: str = "main") -> dict[str, bytes]:
        repository = self.repositories[name]
        files = repository.commits[repository.branches[branch]]
        return {path: self.blobs[key] for path, key in files.items()}

    def keep(self, path: str, content: bytes) -> str:
        large = path.endswith(LARGE)
        key = hashlib.sha256(content).hexdigest() if large else git_hash(content)
        self.blobs[key] = content
        return key


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.handle_request("GET")

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 - names of the base class

    def handle_request(self, _method: str) -> None:
        parts = urlsplit(self.path)
        self.where, self.query = unquote(parts.path), parse_qs(parts.query)
        line = f"{self.command} {self.where}"
        self.hub.requests.append(line)
        fault = next((f for f in self.hub.faults if f.times and re.search(f.pattern, line)), None)
        self.fault = fault
        length = int(self.headers.get("Content-Length") or 0)
        if fault:
            fault.times -= 1
            if fault.cut >= 0 and self.command == "PUT":
                self.rfile.read(min(fault.cut, length))
                self.close_connection = True
                return None
        self.body = self.rfile.read(length)
        if fault and fault.status:
            return self.refuse(fault.status, fault.code, fault.message)
        return self.route()

    def route(self) -> None:
        for pattern, answer in ROUTES:
            if match := re.fullmatch(pattern, f"{self.command} {self.where}"):
                return answer(self, *match.groups())
        return self.refuse(404, "EntryNotFound")

    def refuse(self, status: int, code: str = "", message: str = "") -> None:
        told = message or f"refused with {status}"
        headers = {"X-Error-Message": told} | ({"X-Error-Code": code} if code else {})
        self.send(status, json.dumps({"error": told}).encode(), headers)

    def json(self, content: Any, status: int = 200) -> None:
        self.send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault and self.fault.cut >= 0:
            body, self.close_connection = body[: self.fault.cut], True
        if self.fault and self.fault.corrupt:
            body = bytes([body[0] ^ 1]) + body[1:]
        with suppress(ConnectionError):
            self.wfile.write(body)

    @property
    def known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def repository(self, name: str) -> Repository | None:
        """The repository, if this request may see it; otherwise the refusal is sent."""
        if self.headers.get("Authorization") and not self.known:
            self.refuse(401, message="Invalid credentials in Authorization header")
            return None
        found = self.hub.repositories.get(name)
        if found is None or (found.private and not self.known):
            self.refuse(404 if self.known else 401, "RepoNotFound")
            return None
        return found

    def tree(self, name: str, revision: str) -> tuple[str, dict[str, str]] | None:
        repository = self.repository(name)
        if repository is None:
            return None
        sha = repository.branches.get(revision, revision)
        if sha not in repository.commits:
            self.refuse(404, "RevisionNotFound")
            return None
        return sha, repository.commits[sha]

    def root(self) -> None:
        self.send(200, b"", {})

    def info(self, name: str, revision: str | None) -> None:
        if found := self.tree(name, revision or "main"):
            repository = self.hub.repositories[name]
            siblings = [{"rfilename": path} for path in found[1]]
            about = {"id": name, "sha": found[0], "siblings": siblings}
            gated = "auto" if repository.gated else False
            self.json(about | {"private": repository.private, "gated": gated})

    def listing(self, name: str, revision: str) -> None:
        if found := self.tree(name, revision):
            self.json([self.entry(path, key) for path, key in found[1].items()])

    def entry(self, path: str, key: str) -> dict[str, Any]:
        size = len(self.hub.blobs[key])
        entry: dict[str, Any] = {"type": "file", "path": path, "size": size, "oid": key}
        if len(key) == 64:
            entry |= {"oid": key[:40], "lfs": {"oid": key, "size": size, "pointerSize": 130}}
        return entry

    def resolve(self, name: str, revision: str, path: str) -> None:
        found = self.tree(name, revision)
        if found is None:
            return None
        sha, files = found
        if self.hub.repositories[name].gated and not self.known:
            return self.refuse(403, "GatedRepo")
        headers = {"X-Repo-Commit": sha}
        if path not in files:
            return self.send(404, b"", headers | {"X-Error-Code": "EntryNotFound"})
        key = files[path]
        content = self.hub.blobs[key]
        if len(key) == 40:
            return self.content(content, headers | {"ETag": f'"{key}"'})
        headers |= {"X-Linked-Etag": f'"{key}"', "X-Linked-Size": str(len(content))}
        # Another name of this machine: the client shows its token to the Hub's own host only.
        elsewhere = self.hub.url.replace("127.0.0.1", "localhost")
        return self.send(302, b"", headers | {"Location": f"{elsewhere}/cdn/{key}"})

    def cdn(self, key: str) -> None:
        assert "Authorization" not in self.headers
        self.content(self.hub.blobs[key], {"ETag": f'"{key}"'})

    def content(self, body: bytes, headers: dict[str, str]) -> None:
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start = int(asked[1])
            span = f"bytes {start}-{len(body) - 1}/{len(body)}"
            return self.send(206, body[start:], headers | {"Content-Range": span})
        return self.send(200, body, headers)

    def create(self) -> None:
        if not self.known:
            return self.refuse(401)
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repositories:
            return self.json({"url": f"{self.hub.url}/{name}"}, 409)
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.hub.put(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=private)
        return self.json({"url": f"{self.hub.url}/{name}"})

    def branch(self, name: str, branch: str) -> None:
        repository = self.hub.repositories[name]
        if not self.known or branch in repository.branches:
            return self.refuse(409 if self.known else 401)
        repository.branches[branch] = repository.branches["main"]
        return self.json({})

    def validate(self) -> None:
        card = json.loads(self.body)["content"]
        metadata = yaml.safe_load(card.split("---\n")[1])
        licence = metadata.get("license", LICENCES[0])
        if licence in LICENCES:
            return self.json({"errors": [], "warnings": []})
        message = f'"license" must be one of [{", ".join(LICENCES)}]'
        return self.json({"errors": [{"message": message}], "warnings": []}, 400)

    def preupload(self, name: str, revision: str) -> None:
        if not self.known:
            return self.refuse(401)
        if found := self.tree(name, revision):
            answers = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                    "oid": found[1].get(file["path"]),
                }
                for file in json.loads(self.body)["files"]
            ]
            self.json({"files": answers})
        return None

    def batch(self, _name: str) -> None:
        if not self.known:
            return self.refuse(401)
        objects = []
        for item in json.loads(self.body)["objects"]:
            address = {"href": f"{self.hub.url}/lfs/{item['oid']}?X-Amz-Signature=sigsigsig"}
            missing = {} if item["oid"] in self.hub.blobs else {"actions": {"upload": address}}
            objects.append(item | missing)
        return self.json({"transfer": "basic", "objects": objects})

    def upload(self, key: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != key:
            return self.refuse(400)
        self.hub.uploads.append(key)
        self.hub.blobs[key] = self.body
        return self.send(200, b"", {"ETag": f'"{key}"'})

    def commit(self, name: str, branch: str) -> None:
        if not self.known:
            return self.refuse(401)
        repository = self.hub.repositories[name]
        files = dict(repository.commits[repository.branches[branch]])
        for line in self.body.decode().splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                content = base64.b64decode(value["content"])
                self.hub.blobs[git_hash(content)] = content
                files[value["path"]] = git_hash(content)
            elif item["key"] == "lfsFile":
                assert value["oid"] in self.hub.blobs
                files[value["path"]] = value["oid"]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
        sha = repository.commit(branch, files)
        return self.json({"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha})


_NAME = r"([\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, Any]] = [
    (r"(?:GET|HEAD) /?", _Handler.root),
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.validate),
    (rf"POST /api/models/{_NAME}/branch/(.+)", _Handler.branch),
    (rf"POST /api/models/{_NAME}/preupload/(.+)", _Handler.preupload),
    (rf"POST /api/models/{_NAME}/commit/(.+)", _Handler.commit),
    (rf"POST /{_NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    (r"PUT /lfs/(\w+)", _Handler.upload),
    (rf"GET /api/models/{_NAME}/tree/(.+)", _Handler.listing),
    (rf"GET /api/models/{_NAME}(?:/revision/(.+))?", _Handler.info),
    (r"(?:GET|HEAD) /cdn/(\w+)", _Handler.cdn),
    (rf"(?:GET|HEAD) /{_NAME}/resolve/([^/]+)/(.+)", _Handler.resolve),
]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        hub.url = f"http://127.0.0.1:{http.server_address[1]}"
        try:
            yield hub
        finally:
            http.shutdown()
            thread.join()
