"""Replays recorded exchanges of a real Kubernetes API on the simulated one, and reports where they differ.

    python tests/support/replay_recordings.py --recordings PATH [FLOW...] [--verbose]

A recording is a JSON file of one flow: what was set up, then requests with their answers in time. Times are
the simulation's: nothing is waited for. What is compared: status, reason, texts, causes, headers, the
object's shape and values, relations of versions and generations, field ownership and watch events. Values
that differ by nature (uids, versions, times, generated names and hashes, addresses) are compared as such.
What controllers and the kubelet write comes at other moments than it did: their part of an answer agrees
where the simulation was in the same state within a few seconds. What differs for a known reason stands in
recording_differences.py; any other difference is a fault, and the exit code is 1.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recording_differences import EXPLAINED
from recording_flow import Flow, answer_of_two_budgets, set_up

from perfopt_api.simulated.kubernetes.clock import ManualClock, seconds
from perfopt_api.simulated.kubernetes.cluster import ClusterOptions, SimulatedCluster
from perfopt_api.simulated.kubernetes.http import Request, Response
from perfopt_api.simulated.kubernetes.kubelet import Delays


def load(path: Path) -> dict[str, Any]:
    """Reads one recording."""
    return dict(json.loads(path.read_bytes()))


def replay(recording: dict[str, Any]) -> Flow:
    """Sets a cluster up as a recording was, and replays it."""
    start = phase(recording)
    exchanges = recording["exchanges"]
    clock = ManualClock(start - 5)
    options = ClusterOptions(
        delays=Delays(double=False, stop=0.01),
        autoscaler_seconds=5.0,
        metrics_api=False,
        compact_seconds=30.0,
        notice_seconds=0.06,
        react_seconds=0.01,
    )
    cluster = _observed(SimulatedCluster(clock, options))
    late = [given for given in recording["setup"] if _created_later(given, exchanges)]
    soon = [given for given in recording["setup"] if given not in late]
    for given in soon:
        set_up(cluster, given)
        cluster.advance(0.1)
    cluster.advance(start - clock.now())
    flow = Flow(recording, cluster, start, late=late)
    flow.run()
    return flow


def _created_later(given: dict[str, Any], exchanges: list[dict[str, Any]]) -> bool:
    """Whether an object of the set-up was made only after the first requests."""
    name = given["body"]["metadata"]["name"]
    place = f"{given['path']}/{name}"
    first = next((each for each in exchanges if each["request"]["path"].partition("?")[0] == place), None)
    absent = first is not None and first["response"]["status"] == 404
    second = given["body"]["kind"] == "PodDisruptionBudget" and answer_of_two_budgets(exchanges) is not None
    return absent or second or ("golden.example" in given["path"] and "definitions" not in given["path"])


def phase(recording: dict[str, Any]) -> float:
    """Seconds since the epoch at which a recording began, from the times that its answers hold.

    A write at second `at` that is stamped T was made in [T, T + 1): the flow began in [T - at, T + 1 - at).
    """
    low, high = 0.0, float("inf")
    seen: dict[tuple[str, str], str] = {}
    for exchange in sorted(recording["exchanges"], key=lambda each: each["at_s"]):
        at = exchange["at_s"]
        for stamp in _stamps(exchange, seen):
            low, high = max(low, seconds(stamp) - at - 0.02), min(high, seconds(stamp) + 1 - at)
    if high == float("inf"):
        return 1_764_000_000.0
    return (low + max(low, high)) / 2


def _stamps(exchange: dict[str, Any], seen: dict[tuple[str, str], str]) -> Iterator[str]:
    """The times that a write has put into its object."""
    request, response = exchange["request"], exchange["response"]
    body = response.get("body")
    if not isinstance(body, dict) or response["status"] >= 300 or "dryRun" in request["path"]:
        return
    metadata = body.get("metadata", {})
    if request["method"] == "POST" and response["status"] == 201 and "creationTimestamp" in metadata:
        yield metadata["creationTimestamp"]
    for entry in metadata.get("managedFields", ()):
        if not entry.get("time") or entry["manager"] in ("kube-controller-manager", "kubelet"):
            continue
        writer = entry["manager"] + entry["operation"] + entry.get("subresource", "")
        key = (metadata.get("uid", ""), writer)
        wrote = (
            request["method"] in ("PATCH", "PUT") and f"fieldManager={entry['manager']}" in request["path"]
        )
        if wrote and key in seen and seen[key] != entry["time"]:
            yield entry["time"]
        seen[key] = entry["time"]


def _observed(cluster: SimulatedCluster) -> Any:
    """Notes when which version was written, and what open watches have seen."""
    cluster.moments = {0: 0.0}  # type: ignore[attr-defined]
    cluster.watched = {}  # type: ignore[attr-defined]
    cluster.store.listeners.append(
        lambda change: cluster.moments.__setitem__(change.version, cluster.clock.now())  # type: ignore[attr-defined]
    )
    streams: list[Any] = []
    handle, step = cluster.handle, cluster.step

    def watching(request: Request) -> Response:
        answer = handle(request)
        if answer.stream is not None:
            streams.append(answer.stream)
            cluster.watched[id(answer.stream)] = []  # type: ignore[attr-defined]
        return answer

    def stepping() -> None:
        step()
        for stream in [*streams]:
            cluster.watched[id(stream)].append(stream.poll(cluster.clock.now()))  # type: ignore[attr-defined]
            if stream.done(cluster.clock.now()):
                streams.remove(stream)

    cluster.handle, cluster.step = watching, stepping  # type: ignore[method-assign]
    return cluster


def main() -> int:
    """Replays flows; prints how many exchanges agree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("flows", nargs="*", help="names of files without .json; none is all")
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--verbose", action="store_true", help="print every difference")
    chosen = parser.parse_args()
    total = agreed = explained = 0
    for path in sorted(chosen.recordings.glob("*.json")):
        if chosen.flows and path.stem not in chosen.flows:
            continue
        flow = replay(load(path))
        wrong = {step: found for step, found in flow.differences.items() if found}
        count = len(flow.recording["exchanges"])
        total, agreed = total + count, agreed + count - len(wrong)
        print(f"{path.stem:24} {count - len(wrong):4} of {count:3} agree")
        for step, found in wrong.items():
            reason = EXPLAINED.get((path.stem, step))
            explained += reason is not None
            print(f"    {step}: {reason}" if reason else f"    {step}: NOT EXPLAINED")
            print(f"        {found[0][:300]}" + (f" (and {len(found) - 1} more)" if len(found) > 1 else ""))
            if chosen.verbose:
                print("".join(f"        {text}\n" for text in found[1:12]), end="")
    rest = total - agreed - explained
    print(f"{agreed} of {total} exchanges agree; {explained} differ for a known reason, {rest} for none")
    return 0 if rest == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
