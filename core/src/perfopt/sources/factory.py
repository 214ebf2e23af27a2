"""Opens a metric source: by its configured name, a URL or a path of files."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from perfopt.config.loading import Config, FilesConfig, SourceConfig
from perfopt.config.paths import suggestion
from perfopt.config.prometheus import PrometheusConfig
from perfopt.domain.price import PriceBook
from perfopt.errors import InvalidInputError, NotFoundError
from perfopt.sources.base import MetricSource
from perfopt.sources.files.services import ServicesFile, read_services

if TYPE_CHECKING:
    from perfopt.sources.prometheus.days import DayStore


def source_config(spec: str | None, config: Config, services: Path | None = None) -> tuple[str, SourceConfig]:
    """Finds what to open: the name it is reported by and its configuration.

    Args:
        spec: a configured name, an http(s) URL, or the path of a file or directory; None is the
            default source, or the only one.
        config: the effective configuration.
        services: a services file for a file source, in place of the configured one.

    Raises:
        NotFoundError: it is none of these.
        InvalidInputError: a services file for a source that is not files.
    """
    name, configured = _find(spec if spec is not None else _default(config), config)
    if services is None:
        return name, configured
    if not isinstance(configured, FilesConfig):
        raise InvalidInputError(
            f"A services file goes with files, and {name!r} is a Prometheus, which knows the state itself.",
            field="services",
            remedy="Leave the services file out.",
        )
    return name, msgspec.structs.replace(configured, services=str(services))


def open_source(
    spec: str | None,
    config: Config,
    services: Path | None = None,
    *,
    step_seconds: int | None = None,
    days: "DayStore | None" = None,
) -> MetricSource:
    """Opens a metric source; see `source_config` for the other arguments and errors.

    Args:
        spec: as for `source_config`.
        config: as for `source_config`.
        services: as for `source_config`.
        step_seconds: of the time grid, in place of the configured one.
        days: where a Prometheus' days that were read are kept, for later passes; None reads all anew.

    Raises:
        InvalidInputError: a services file that is wrong.
        SourceError: files that are missing or unreadable.
    """
    name, configured = source_config(spec, config, services)
    if step_seconds is not None:
        configured = msgspec.structs.replace(configured, step_seconds=step_seconds)
    if isinstance(configured, PrometheusConfig):
        from perfopt.sources.prometheus.source import PrometheusSource  # httpx is not needed for files

        return PrometheusSource(name, configured, days=days)
    from perfopt.sources.files.source import FileSource  # pyarrow is not needed for Prometheus

    read = _services(configured)
    read.check_price_books(config.price_books)
    return FileSource(name, configured, read)


def with_price_books(config: Config, source: SourceConfig) -> Config:
    """Returns the configuration with the price books that a source's services file brings."""
    brought = _services(source).price_books
    return msgspec.structs.replace(config, price_books={**config.price_books, **brought})


def services_price_books(config: Config) -> Mapping[str, PriceBook]:
    """Returns the price books of the configuration and of every configured services file."""
    books = dict(config.price_books)
    for source in config.sources.values():
        books |= _services(source).price_books
    return books


def _services(source: SourceConfig) -> ServicesFile:
    named = source.services if isinstance(source, FilesConfig) else None
    return read_services(Path(named)) if named else ServicesFile()


def _default(config: Config) -> str:
    if config.default_source is not None:
        return config.default_source
    if len(config.sources) == 1:
        return next(iter(config.sources))
    raise InvalidInputError(
        "No metric source is named." if config.sources else "No metric source is named or configured.",
        field="source",
        remedy="Name a configured source, a URL or a file, or set default_source.",
    )


def _find(spec: str, config: Config) -> tuple[str, SourceConfig]:
    if spec in config.sources:
        return spec, config.sources[spec]
    if spec.startswith(("http://", "https://")):
        return spec, PrometheusConfig(url=spec)
    if not spec.strip():
        raise InvalidInputError(
            "The source is blank.", field="source", remedy="Name a configured source, a URL or a file."
        )
    path, ending = Path(spec), Path(spec).suffix.lower()
    if path.is_file() and ending in (".yaml", ".yml"):
        raise InvalidInputError(
            f"{spec} is YAML, and metrics are in Parquet or CSV files.",
            field="source",
            remedy="Give a services file as --services, and a configuration file as --config.",
        )
    if path.exists():
        return spec, FilesConfig(paths=spec)
    if ending in (".parquet", ".csv", ".gz"):
        raise NotFoundError(
            f"The file {spec} does not exist.", field="source", remedy="Check the path, and where it starts."
        )
    near = suggestion(spec, tuple(config.sources)) if config.sources else ""
    raise NotFoundError(
        f"{spec!r} is no configured source, no URL and no file.",
        field="source",
        remedy=f"Check the path or the name. {near}".strip(),
        candidates=tuple(config.sources),
    )
