"""Renders the chart, and describes its values: the schema and the README are written from values.yaml."""

import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "charts/perfopt"
CASES = sorted(CHART.glob("ci/*-values.yaml"))
_KEY = re.compile(r"( *)([A-Za-z][A-Za-z0-9]*):")
_MAPPING_DEFAULTS = {
    "resources",
    "nodeSelector",
    "affinity",
    "annotations",
    "podAnnotations",
    "labels",
    "volume",
}

_TYPES = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"))


def values_of(case: Path) -> dict[str, Any]:
    """Returns the values of one file of the matrix."""
    return yaml.safe_load(case.read_text())  # type: ignore[no-any-return]


def case_name(case: Path) -> str:
    """Returns the name of one file of the matrix."""
    return case.name.removesuffix("-values.yaml")


def render(
    values: Mapping[str, Any], *, upgrade: bool = False, revision: int = 1, chart: Path = CHART
) -> dict[str, str]:
    """Returns the text of every template by its name below the chart."""
    import helm_python  # Linux on x86-64 only

    loaded = helm_python.Chart.load(chart)
    return loaded.render(
        dict(values),
        name="perfopt",
        namespace="perfopt",
        revision=revision,
        is_install=not upgrade,
        is_upgrade=upgrade,
    )


def last_tagged_chart(repository: Path, folder: Path) -> Path | None:
    """Writes the chart of a repository's last release into a folder.

    Args:
        repository: its releases are tags such as `v0.3.0`.
        folder: takes the chart.

    Returns:
        The chart, None where nothing was released yet.
    """

    def git(*words: str) -> bytes:
        return subprocess.run(["git", *words], cwd=repository, capture_output=True).stdout

    tag = git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*").decode().strip()
    archive = git("archive", tag, "charts/perfopt") if tag else b""
    if not archive:
        return None
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder / "charts/perfopt"


def objects(texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Returns the objects of rendered templates."""
    manifests = [text for name, text in sorted(texts.items()) if name.endswith(".yaml")]
    return [found for text in manifests for found in yaml.load_all(text, yaml.CSafeLoader) if found]


def of_kind(made: list[dict[str, Any]], *kinds: str) -> dict[str, dict[str, Any]]:
    """Returns the objects of some kinds by their names."""
    return {each["metadata"]["name"]: each for each in made if each["kind"] in kinds}


def comments() -> dict[tuple[str, ...], tuple[str, dict[str, Any]]]:
    """Returns by path of a value what its comments in values.yaml say: the text, and parts of its schema."""
    found: dict[tuple[str, ...], tuple[str, dict[str, Any]]] = {}
    path: list[tuple[int, str]] = []
    text, schema = "", {}
    for line in (CHART / "values.yaml").read_text().splitlines():
        bare = line.strip()
        if bare.startswith("# -- "):
            text = bare[5:]
        elif bare.startswith("# @schema "):
            schema = json.loads(bare[10:])
        elif match := _KEY.match(line):
            indent = len(match[1])
            path = [*(each for each in path if each[0] < indent), (indent, match[2])]
            found[tuple(key for _, key in path)] = (text, schema)
            text, schema = "", {}
    return found


def default_values() -> dict[str, Any]:
    """Returns values.yaml."""
    return yaml.safe_load((CHART / "values.yaml").read_text())  # type: ignore[no-any-return]


def schema() -> dict[str, Any]:
    """Returns values.schema.json: only values that are in values.yaml, each of its type."""
    return {
        "$schema": "https://json-schema.org/draft-07/schema#",
        "title": "Values of perfopt",
        **_schema(default_values(), (), comments()),
    }


def _schema(value: Any, path: tuple[str, ...], known: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    own = known.get(_origin(path), ("", {}))[1]
    if isinstance(value, dict):
        if own or (not value) or (path and path[-1] in _MAPPING_DEFAULTS):
            return {"type": "object", **own}
        properties = {key: _schema(each, (*path, key), known) for key, each in value.items()}
        return {"type": "object", "additionalProperties": False, "properties": properties}
    if own:
        return {"type": _type(value), **own} if "enum" not in own and "type" not in own else dict(own)
    return {"type": _type(value)}


def _origin(path: tuple[str, ...]) -> tuple[str, ...]:
    """The pools share the comments of the first."""
    return (path[0], "interactive", *path[2:]) if len(path) > 2 and path[0] == "workers" else path


def _type(value: Any) -> str:
    for kind, name in _TYPES:
        if isinstance(value, kind):
            return name
    raise TypeError(f"{value!r} needs a schema of its own")


def readme() -> str:
    """Returns the README of the chart, with a row for each value."""
    rows = "\n".join(_rows(default_values(), (), comments()))
    return f"""# The chart of perfopt

[Install on a cluster](../../docs/how-to/install-on-a-cluster.md) says how to use it.
Kubernetes 1.29 and later. `python tests/chart/test_values.py` writes this page and the schema from
`values.yaml`.

| value | default | meaning |
|---|---|---|
{rows}
"""


def _rows(value: Any, path: tuple[str, ...], known: Mapping[tuple[str, ...], Any]) -> Iterator[str]:
    text, own = known.get(path, ("", {}))
    leaf = not isinstance(value, dict) or not value or own or (path[-1:] and path[-1] in _MAPPING_DEFAULTS)
    if path and (leaf or text):
        shown = f"`{json.dumps(value)}`" if leaf else ""
        yield f"| `{'.'.join(path)}` | {shown} | {text} |"
    if leaf or path in (("workers", "fleet"), ("workers", "heavy"), ("workers", "apply")):
        return
    for key, each in value.items():
        yield from _rows(each, (*path, key), known)


def immutable_fields(case: Path, chart: Path = CHART) -> dict[str, dict[str, Any]]:
    """Returns what Kubernetes lets no upgrade change, by kind and name."""
    kept = {}
    for each in objects(render(values_of(case), upgrade=True, chart=chart)):
        spec = each.get("spec") or {}
        fields = {}
        if each["kind"] in ("Deployment", "StatefulSet"):
            fields["selector"] = spec["selector"]
        if each["kind"] == "StatefulSet":
            fields |= {name: spec.get(name) for name in ("serviceName", "volumeClaimTemplates")}
        if each["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            fields["roleRef"] = each["roleRef"]
        if fields:
            kept[f"{each['kind']}/{each['metadata']['name']}"] = fields
    return kept
