"""A Hugging Face Hub on this machine, with the few answers that downloads need."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """``repositories`` maps "owner/name" to its files; ``requested`` has the files it sent."""

    def __init__(self, repositories: dict[str, dict[str, bytes]]) -> None:
        self.repositories = repositories
        self.gated: set[str] = set()
        self.requested: list[str] = []
        self.tokens: set[str | None] = set()
        self.url = ""

    def answer(self, method: str, target: str) -> tuple[int, dict[str, str], bytes]:
        path = unquote(urlsplit(target).path).strip("/")
        if path.startswith("api/models/"):
            return self._api(path.removeprefix("api/models/"))
        repo, _, rest = path.partition("/resolve/")
        revision, _, name = rest.partition("/")
        if repo not in self.repositories:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if repo in self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        if revision not in ("main", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if name not in self.repositories[repo]:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
        content = self.repositories[repo][name]
        if method == "GET":
            self.requested.append(name)
        etag = hashlib.sha256(content).hexdigest()
        return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, content

    def _api(self, path: str) -> tuple[int, dict[str, str], bytes]:
        owner, name, *rest = path.split("/")
        repo = f"{owner}/{name}"
        if repo not in self.repositories:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if len(rest) > 1 and rest[1] not in ("main", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        files = self.repositories[repo]
        if rest[:1] == ["tree"]:
            listed: object = [
                {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
                for path, content in files.items()
            ]
        else:
            listed = {
                "_id": "1",
                "id": repo,
                "sha": COMMIT,
                "siblings": [{"rfilename": path} for path in files],
            }
        return 200, {"Content-Type": "application/json"}, json.dumps(listed).encode()


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.tokens.add(self.headers["Authorization"])
            status, headers, body = hub.answer(self.command, self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
