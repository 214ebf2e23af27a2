from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from first_party import FIRST_PARTY

from perfopt.config.loading import Config, EngineConfig
from perfopt.engine import Engine, probe_plugins

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a distribution the way pip leaves it: metadata and modules in a folder of the path."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(
        distribution: str,
        plugins: Mapping[str, str],
        *,
        files: Mapping[str, str] | None = None,
        requires: str = "perfopt",
        version: str = "1.0",
    ) -> None:
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        metadata = (
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nRequires-Dist: {requires}\n"
        )
        (info / "METADATA").write_text(metadata)
        lines = [f"{name} = {target}" for name, target in plugins.items()]
        (info / "entry_points.txt").write_text("\n".join(["[perfopt.plugins]", *lines, ""]))
        for name, text in (files or {}).items():
            (tmp_path / name).write_text(text)

    return put


@pytest.fixture
def start() -> Iterator[Callable[..., Engine]]:
    """Starts engines on what is installed, without the project's own plugins."""
    engines: list[Engine] = []

    def open_engine(**limits: Any) -> Engine:
        settings: dict[str, Any] = {"deadline_seconds": 1.0, "memory_limit_mib": 300, "processes": 1} | limits
        config = Config(engine=EngineConfig(**settings))
        engines.append(Engine(probe_plugins(disabled=FIRST_PARTY), config))
        return engines[-1]

    yield open_engine
    for engine in engines:
        engine.close()
