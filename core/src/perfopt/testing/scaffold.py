"""Writes a new plugin package from templates: a strategy of one type, its tests and a README."""

import keyword
import math
import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from string import Template

from perfopt.domain.enums import OptimizationType
from perfopt.errors import ConflictError, InvalidInputError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
SAMPLES = "samples.csv"
_TEMPLATES = files("perfopt.testing") / "templates"


def write_package(name: str, kind: OptimizationType, parent: Path) -> tuple[Path, ...]:
    """Creates a package and returns its files.

    Args:
        name: of the distribution and of the plugin, such as "pool-sizer"; the import name has "_".
        kind: what its strategy proposes.
        parent: the directory to create it in; it is made where it does not exist.

    Raises:
        InvalidInputError: a name that is no name of a plugin.
        ConflictError: there is something of that name already.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise InvalidInputError(
            f"{name!r} cannot be the name of a plugin.",
            field="name",
            remedy="Use lower-case letters, digits and hyphens, such as pool-sizer; no word of Python.",
        )
    root = parent / name
    if root.exists():
        raise ConflictError(f"{root} exists already.", field="path", remedy="Choose another name or path.")
    values = _values(name, kind)
    written = []
    for target, template in _layout(values["package"], values["short"]).items():
        path = root / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            Template(_TEMPLATES.joinpath(template).read_text("utf-8")).substitute(values), "utf-8"
        )
        written.append(path)
    samples = root / SAMPLES
    samples.write_text(sample_trace(name), "utf-8")
    return (*written, samples)


def sample_trace(service: str) -> str:
    """Returns a week of one generated service as CSV, to run a strategy on: always the same.

    Cores follow the hours of a working day, memory hardly moves, and both are well under their limits.
    """
    start = datetime(2026, 1, 5, tzinfo=UTC)
    lines = ["series_id,timestamp,metric,value"]
    for number in range(7 * 288):
        at = start + number * timedelta(minutes=5)
        busy = max(math.sin(math.pi * (at.hour + at.minute / 60 - 6) / 14), 0.0) * (at.weekday() < 5)
        jitter = (number * 7919 % 101) / 100
        values = {
            "cpu_cores": 0.1 + 0.5 * busy + 0.1 * jitter,
            "memory_bytes": round(300 + 40 * busy + 10 * jitter) * 2**20,
            "requests_per_second": 5 + 40 * busy + 3 * jitter,
            "latency_p99_ms": 40 + 60 * busy + 10 * jitter,
        }
        if number == 0:
            values |= {"cpu_limit_cores": 2, "memory_limit_bytes": 2**30, "replicas": 2}
        lines += [f"{service},{at:%Y-%m-%dT%H:%MZ},{metric},{value:.10g}" for metric, value in values.items()]
    return "\n".join(lines) + "\n"


def _values(name: str, kind: OptimizationType) -> dict[str, str]:
    return {
        "name": name,
        "package": name.replace("-", "_"),
        "strategy": "".join(part.capitalize() for part in name.split("-")),
        "type": kind.value,
        "short": kind.value.partition("_")[0].lower(),
    }


def _layout(package: str, short: str) -> dict[str, str]:
    """Returns each file of a package and the template that it is made from."""
    return {
        "pyproject.toml": "pyproject.toml.txt",
        "README.md": "README.md.txt",
        f"src/{package}/__init__.py": "plugin.py.txt",
        f"src/{package}/py.typed": "py.typed.txt",
        f"src/{package}/strategy.py": f"strategy_{short}.py.txt",
        "tests/test_strategy.py": f"test_{short}.py.txt",
    }
