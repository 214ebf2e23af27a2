"""Run as a script: opens the embedded servers, prints where and which processes they are, and waits."""

import json
import sys
from pathlib import Path

from perfopt_api.embedded import NatsServer, PostgresServer, temporary_root

with temporary_root() as root:
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else root
    ephemeral = where == root
    with (
        PostgresServer(where / "postgres", ephemeral=ephemeral) as postgres,
        NatsServer(where / "nats", ephemeral=ephemeral) as nats,
    ):
        print(json.dumps({"root": str(where), "pids": [postgres.pid, nats.pid]}), flush=True)
        sys.stdin.read()
