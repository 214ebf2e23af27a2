"""All five types on the bundled samples: what is recommended changes only where that is meant.

`python tests/golden/test_recommendations.py` writes the file anew; its diff is the change of behaviour.
"""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("recommendations.json")
DEMO = ROOT / "api/src/perfopt_api/demo/data"
SAMPLES = {
    "bitbrains": DEMO / "bitbrains.parquet",
    "nab": DEMO / "nab.parquet",
    "nab_group": DEMO / "nab_group.parquet",
    "nezha": DEMO / "nezha.parquet",
    "three_vms": ROOT / "core/tests/data/bitbrains_three_vms.parquet",
}
IMPROVEMENT = ("cost_reduction_percent", "latency_reduction_ms", "performance_gain_percent", "confidence")
RELATIVE = 5e-3  # another processor may round a quantity to its neighbour


def analysed(sample: Path) -> dict[str, Any]:
    """Returns what `perfopt analyze` recommends for each service of a file, without words."""
    command = [str(Path(sys.executable).with_name("perfopt")), "analyze", "--all", "--format", "json"]
    command += ["--source", str(sample)]
    if sample.parent == DEMO:
        command += ["--services", str(DEMO / "services.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    results = json.loads(done.stdout)["results"]
    return {one["service_name"]: _facts(one) for one in results if not _without_data(one)}


def _without_data(result: dict[str, Any]) -> bool:
    return not result["recommendations"] and all(one["code"] == "no_data" for one in result["declined"])


def _facts(result: dict[str, Any]) -> dict[str, Any]:
    plan = result["plan"]
    return {
        "recommendations": {
            one["optimization_type"]: {
                "state": one["recommended_state"],
                "improvement": {name: one["expected_improvement"][name] for name in IMPROVEMENT},
                "windows": [window["outcome"] for window in one["evidence"]["windows"]],
            }
            for one in result["recommendations"]
        },
        "abstained": {one["optimization_type"]: one["code"] for one in result["declined"]},
        "plan": None if plan is None else plan["recommended_state"],
    }


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """Returns what differs between two trees, numbers and quantities compared by their relative distance."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = dict.fromkeys([*before, *after])
        return [
            text
            for name in names
            for text in differences(before.get(name), after.get(name), f"{where}/{name}")
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [text for place, pair in pairs for text in differences(*pair, f"{where}/{place}")]
    same = before == after or _close(before, after)
    return [] if same else [f"{where}: {before!r} -> {after!r}"]


def _close(before: Any, after: Any) -> bool:
    first, second = _number(before), _number(after)
    return first is not None and second is not None and math.isclose(first, second, rel_tol=RELATIVE)


def _number(value: Any) -> float | None:
    from perfopt.domain.quantity import parse_cpu, parse_memory
    from perfopt.errors import InvalidInputError

    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        return None
    for parse in (parse_cpu, parse_memory):
        try:
            return float(parse(value))
        except InvalidInputError:
            continue
    return None


@pytest.mark.parametrize("name", SAMPLES)
def test_recommendations_change_only_where_meant(name: str) -> None:
    expected = json.loads(GOLDEN.read_text())[name]
    assert not differences(expected, analysed(SAMPLES[name]))


if __name__ == "__main__":
    made = {name: analysed(sample) for name, sample in SAMPLES.items()}
    GOLDEN.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
