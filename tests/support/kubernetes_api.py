"""A Kubernetes API server for tests that lists what it was given, in pages, and refuses as the real one does.

Forms after kubernetes.io, "Kubernetes API Concepts" (lists, `limit` and `continue`, 410 Expired) and the API
reference: lists of built-in kinds have items without `kind`, refusals are a `Status`.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "read-only-token"
Refusal = tuple[int, str, dict[str, str]]


@dataclass
class KubernetesApi:
    """What the server holds and how it behaves.

    Attributes:
        objects: by collection: "/apis/apps/v1/deployments" to the objects in all namespaces.
        refusals: collection to the answers it gives first, one a request: status, message, headers.
        asked: paths with queries, in order.
        url: where it listens.
    """

    objects: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    refusals: dict[str, list[Refusal]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def add(self, collection: str, *objects: dict[str, Any]) -> None:
        """Adds objects to a collection."""
        self.objects.setdefault(collection, []).extend(objects)

    def kubeconfig(self, path: Path, token: str = TOKEN) -> Path:
        """Writes a kubeconfig (JSON is YAML) that leads here; returns its path."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "reader"}}],
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "reader", "user": {"token": token}}],
        }
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Returns status, body and headers for a GET."""
        self.asked.append(path)
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        collection, namespace = _collection(parts.path)
        if authorization != f"Bearer {TOKEN}":
            return 401, _status(401, "Unauthorized"), {}
        if pending := self.refusals.get(collection):
            status, message, headers = pending.pop(0)
            return status, _status(status, message), headers
        if collection not in self.objects:
            return 404, _status(404, "the server could not find the requested resource"), {}
        items = [o for o in self.objects[collection] if not namespace or _namespace(o) == namespace]
        begin, size = int(query.get("continue", "0")), int(query.get("limit", "500"))
        further = {"continue": str(begin + size)} if begin + size < len(items) else {}
        page = {"metadata": {"resourceVersion": "7"} | further, "items": items[begin : begin + size]}
        return 200, page, {}


@contextmanager
def kubernetes_api() -> Iterator[KubernetesApi]:
    """Starts a server with empty collections of what perfopt reads; stops it at the end."""
    api = KubernetesApi()
    for plural in ("deployments", "statefulsets", "daemonsets"):
        api.add(f"/apis/apps/v1/{plural}")
    api.add("/api/v1/pods")
    api.add("/apis/autoscaling/v2/horizontalpodautoscalers")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body, headers = api.answer(self.path, self.headers.get("Authorization", ""))
            text = json.dumps(body).encode()
            self.send_response(status)
            for name, value in ({"Content-Type": "application/json"} | headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _collection(path: str) -> tuple[str, str]:
    """Splits /api/v1/namespaces/shop/pods into /api/v1/pods and shop."""
    before, inside, after = path.partition("/namespaces/")
    if not inside:
        return path, ""
    namespace, _, plural = after.partition("/")
    return f"{before}/{plural}", namespace


def _namespace(item: dict[str, Any]) -> str:
    return str(item["metadata"].get("namespace", ""))


def _status(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
