"""Secrets that the service is given are found nowhere that others could read them."""

import asyncio
import os
import subprocess
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest
import yaml

from perfopt_api.childserver import free_port
from perfopt_api.demo.samples import DATA
from perfopt_api.embedded import NatsServer

from .test_serve_command import command, eventually

CANARIES = {
    "database": "canary-database-4f1c",
    "nats": "canary-nats-77ab",
    "prometheus": "canary-prometheus-90de",
    "token": "canary-token-of-ann-52ee",
    "session": "canary-session-secret-11",
}
API = "/api/v1/optimization"


@pytest.fixture
def running(server_root, empty_database_url, tmp_path):
    """API and worker as two processes whose settings name secrets in every way there is."""
    root = server_root / "secrets"
    with NatsServer(root) as nats:
        (root / "password").write_text(CANARIES["nats"])
    with NatsServer(root) as nats:
        port = free_port()
        (tmp_path / "nats").write_text(nats.url)
        database = empty_database_url.replace("perfopt@", f"perfopt:{CANARIES['database']}@")
        config = {
            "sources": {
                "bitbrains": {"type": "files", "paths": str(DATA / "bitbrains.parquet")},
                "down": {
                    "type": "prometheus",
                    "url": f"http://127.0.0.1:{free_port()}",
                    "bearer_token": "env:PROM_TOKEN",
                },
            },
            "default_source": "bitbrains",
            "service": {
                "database_url": "env:OUR_DATABASE",
                "nats_url": f"file:{tmp_path / 'nats'}",
                "port": port,
                "session_secret": CANARIES["session"],
                "api_keys": {"ann": {"token": CANARIES["token"]}},
                "log_level": "debug",
            },
        }
        path = tmp_path / "perfopt.yaml"
        path.write_text(yaml.safe_dump(config))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PERFOPT_")}
        variables = clean | {
            "OUR_DATABASE": database,
            "PROM_TOKEN": CANARIES["prometheus"],
            "PERFOPT_CONFIG": str(path),
        }
        log = tmp_path / "log.txt"
        with log.open("w") as out:
            processes = [
                subprocess.Popen(command(*words), env=variables, stdout=out, stderr=subprocess.STDOUT)
                for words in (("serve", "--migrate"), ("worker",))
            ]
        try:
            yield f"http://127.0.0.1:{port}", log, [psutil.Process(one.pid) for one in processes], variables
        finally:
            for one in processes:
                one.terminate()
            for one in processes:
                one.wait(20)


def is_up(url):
    try:
        return httpx.get(f"{url}/health/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def answers(url):
    """What the API says to all kinds of right and wrong calls."""
    ann = {"Authorization": f"Bearer {CANARIES['token']}"}
    with httpx.Client(base_url=url, timeout=90, headers={"Accept": "*/*"}) as caller:
        body = {"service_name": "bitbrains-rnd/vm328", "optimization_types": ["RESOURCE_OPTIMIZATION"]}
        done = caller.post(f"{API}/analyze", json=body, headers=ann | {"Prefer": "wait=60"})
        assert done.json()["status"] == "RECOMMENDATIONS_READY", done.text
        yield done.text
        failing = body | {"source": "down"}
        yield caller.post(f"{API}/analyze", json=failing, headers=ann | {"Prefer": "wait=20"}).text
        for path in ("jobs", "recommendations", "policy", "plugins", "audit", "models", "unknown"):
            yield caller.get(f"{API}/{path}", headers=ann).text
        for path in ("/openapi.json", "/asyncapi.json", "/metrics", "/health/ready", "/ui/login"):
            yield caller.get(path).text
        yield caller.get("/ui/doctor", headers=ann).text
        yield caller.get(f"{API}/jobs", headers={"Authorization": f"Bearer {CANARIES['token']}x"}).text
        yield caller.post(f"{API}/analyze", content=b"{", headers=ann).text
        signed_in = caller.post("/ui/login", data={"token": CANARIES["token"]})
        yield signed_in.text + str(signed_in.headers)


async def rows(url):
    connection = await asyncpg.connect(url)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    found = [
        str(row[0])
        for (table,) in tables
        for row in await connection.fetch(f'SELECT t::text FROM "{table}" t')
    ]
    await connection.close()
    return "\n".join(found)


def found_in(text):
    return [name for name, secret in CANARIES.items() if secret in text]


@pytest.mark.timeout(240)
def test_secrets_are_nowhere_to_be_read(running, empty_database_url):
    url, log, processes, variables = running
    eventually(lambda: is_up(url), 60)
    for answer in answers(url):
        assert found_in(answer) == [], answer
    family = [*processes, *(child for one in processes for child in one.children(recursive=True))]
    strategies = processes[1].children(recursive=True)
    assert strategies, "the worker runs strategies in processes of their own"
    for one in family:
        assert found_in(" ".join(one.cmdline())) == [], one
    for child in strategies:
        assert found_in(Path(f"/proc/{child.pid}/environ").read_text(errors="replace")) == [], child
    assert found_in(asyncio.run(rows(empty_database_url))) == []
    shown = subprocess.run(
        command("config", "show"), env=variables, capture_output=True, text=True, check=True
    )
    assert found_in(shown.stdout + shown.stderr) == []
    checked = subprocess.run(command("doctor"), env=variables, capture_output=True, text=True, check=False)
    assert found_in(checked.stdout + checked.stderr) == []
    text = log.read_text()
    assert "job_finished" in text
    assert found_in(text) == []
