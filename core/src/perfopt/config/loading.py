"""Configuration: one YAML file, overridden by the environment, checked as a whole.

The file is named by an argument or by PERFOPT_CONFIG. `PERFOPT_<SECTION>__<FIELD>` overrides a
field (`PERFOPT_ENGINE__DEADLINE_SECONDS=20`); deeper fields take one more `__` each. The fields
that stand at the top are `PERFOPT_DEFAULT_SOURCE` and `PERFOPT_PRICE_BOOK`. Other variables with
the prefix are left alone: Kubernetes sets such (`PERFOPT_PORT`) for a Service of that name.
"""

import difflib
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from perfopt.config.documents import YamlDocument, read_yaml
from perfopt.config.overrides import PLUGINS, SCALARS, with_environment, with_options
from perfopt.config.paths import suggestion
from perfopt.config.prices import PriceBookConfig, price_book
from perfopt.config.prometheus import PrometheusConfig
from perfopt.domain.enums import ServiceClass
from perfopt.domain.price import DEFAULT_PRICE_BOOK, PriceBook

SECTION_GROUP = "perfopt.config_sections"
_MAPPINGS = ("sources", "price_books", "engine", "rules", PLUGINS)

Seconds = Annotated[float, Meta(gt=0, le=86400)]
Count = Annotated[int, Meta(ge=1, le=1024)]
S = TypeVar("S", bound=msgspec.Struct)


class FilesConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="files", tag_field="type"
):
    """Parquet or CSV files with the columns series_id, timestamp, metric, value.

    Attributes:
        paths: a file or directory, or a list of them; relative to the working directory.
        services: the services file: the current requests, limits and replicas of each series.
        step_seconds: length of a step of the time grid.
    """

    paths: str | tuple[str, ...]
    services: str | None = None
    step_seconds: Annotated[int, Meta(ge=1, le=86400)] = 300


SourceConfig = PrometheusConfig | FilesConfig


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the worker processes that run strategies.

    Attributes:
        deadline_seconds: time for one strategy with its backtest; a worker process over it is killed.
        memory_limit_mib: resident memory of one worker process; a process over it is killed.
        processes: number of worker processes; unset is one per core.
        disabled_plugins: names of plugins to leave out, as a list or with commas.
        minimum_confidence: changes of a lower confidence are not recommended.
        allowed_plugins: the only plugins that are imported: name to `sha256:...` of the distribution, as
            `perfopt plugin pin` prints it, or to `any`; unset allows all.
        under_provisioning_penalties: penalty of a violation by service class, where the typical allocation
            costs 8; critical 15, standard 9.5, batch 6 unless set.
        shortage_costs: deprecated name of under_provisioning_penalties.
        forecasters: names in order of preference (`perfopt plugin list` shows them); unset leaves the choice
            to each strategy.
        forecast_weighting: "first" that can forecast a series, or all weighted by their loss on its past.
        executor: where backtests, training and replays run: "processes" of this machine,
            "dask://host:port" of a Dask scheduler, or "dask://local".
    """

    deadline_seconds: Seconds = 10.0
    memory_limit_mib: Annotated[int, Meta(ge=64, le=1048576)] = 1024
    processes: Count | None = None
    disabled_plugins: str | tuple[str, ...] = ()
    minimum_confidence: Annotated[float, Meta(ge=0, le=1)] = 0.0
    allowed_plugins: dict[str, Annotated[str, Meta(pattern="^(any|sha256:[0-9a-f]{64})$")]] | None = None
    under_provisioning_penalties: dict[ServiceClass, Annotated[float, Meta(gt=0)]] = {}
    shortage_costs: dict[ServiceClass, Annotated[float, Meta(gt=0)]] = {}
    forecasters: str | tuple[str, ...] = ()
    forecast_weighting: Literal["first", "rolling_origins"] = "first"
    executor: Annotated[str, Meta(pattern="^(processes|dask://.+)$")] = "processes"

    @property
    def penalties(self) -> dict[ServiceClass, float]:
        """The under-provisioning penalties that are configured, by either name."""
        return {**self.shortage_costs, **self.under_provisioning_penalties}

    def disabled(self) -> tuple[str, ...]:
        """Returns the names of the disabled plugins."""
        return _names(self.disabled_plugins)

    def chosen_forecasters(self) -> tuple[str, ...]:
        """Returns the names of the forecasters to use, in order of preference."""
        return _names(self.forecasters)


def _names(given: str | tuple[str, ...]) -> tuple[str, ...]:
    names = given.split(",") if isinstance(given, str) else given
    return tuple(name.strip() for name in names if name.strip())


class NamespaceRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules of one namespace.

    Attributes:
        packs: files or directories of rule packs for this namespace only: one, or a list.
        enable: names of packs to turn on: a list, or names with commas.
        disable: names of packs to turn off: a list, or names with commas.
        parameters: parameters by name of a pack.
    """

    packs: str | tuple[str, ...] = ()
    enable: str | tuple[str, ...] = ()
    disable: str | tuple[str, ...] = ()
    parameters: dict[str, dict[str, Any]] = {}


class RulesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Declarative rules: see docs/reference/rules.md.

    Attributes:
        packs: files or directories of rule packs, added to the shipped ones: one, or a list.
        enable: names of packs to turn on: a list, or names with commas.
        disable: names of packs to turn off: a list, or names with commas.
        parameters: parameters by name of a pack.
        namespaces: what differs in a namespace.
        clusters: labels of a cluster by its name, which rules read as `cluster.labels`.
    """

    packs: str | tuple[str, ...] = ()
    enable: str | tuple[str, ...] = ()
    disable: str | tuple[str, ...] = ()
    parameters: dict[str, dict[str, Any]] = {}
    namespaces: dict[str, NamespaceRules] = {}
    clusters: dict[str, dict[str, str]] = {}


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The effective configuration.

    Attributes:
        sources: name to metric source.
        default_source: the one used where a request names none; None with one source means that one.
        price_books: name to price book, the built-in one included.
        price_book: name of the book for workloads that name none.
        engine: limits of strategies.
        rules: declarative rules.
        sections: sections of installed extensions as written; read one with `section`.
        plugins: name of a plugin to its settings as written; `perfopt.engine.configure` checks them.
        model: file of a model of any installed kind, in place of what a plugin's setting names (`--model`).
        unclaimed: settings of the engine as written that only a plugin may know, by an old name.
        document: what all of it was read from, for errors.
    """

    sources: dict[str, SourceConfig] = {}
    default_source: str | None = None
    price_books: dict[str, PriceBook] = msgspec.field(
        default_factory=lambda: {DEFAULT_PRICE_BOOK.name: DEFAULT_PRICE_BOOK}
    )
    price_book: str = DEFAULT_PRICE_BOOK.name
    engine: EngineConfig = EngineConfig()
    rules: RulesConfig = RulesConfig()
    sections: dict[str, dict[str, Any]] = {}
    plugins: dict[str, dict[str, Any]] = {}
    model: str | None = None
    unclaimed: dict[str, Any] = {}
    document: YamlDocument = msgspec.field(default_factory=lambda: YamlDocument("environment", {}))

    def section(self, name: str, into: type[S]) -> S:
        """Returns an extension's section as its struct, with defaults for what is not set.

        Raises:
            InvalidInputError: an unknown field or a wrong value; names the key and the file.
        """
        return self.document.convert(self.sections.get(name, {}), into, (name,), lax=True)

    def book_for(self, named: str | None, measured: PriceBook | None = None) -> PriceBook:
        """Returns the price book of a workload.

        That is the book that the workload names, the one that is configured, the measured one (OpenCost's),
        or the built-in one. A name that is not configured counts as none.

        Args:
            named: by the workload; None is no book.
            measured: prices that the source measured, if any.
        """
        if named is not None and named in self.price_books:
            return self.price_books[named]
        if measured is not None and self.price_book == DEFAULT_PRICE_BOOK.name:
            return measured
        return self.price_books.get(self.price_book, DEFAULT_PRICE_BOOK)


def load_config(path: Path | None, environ: Mapping[str, str], given: Sequence[str] = ()) -> Config:
    """Reads the configuration.

    Args:
        path: the YAML file; None takes PERFOPT_CONFIG, and without that there is no file.
        environ: the environment.
        given: settings from the command line, each "plugin.key=value" or "section.key=value"; they go before
            both.

    Raises:
        InvalidInputError: unreadable, unknown key, wrong type or a reference to nothing.
    """
    named = path or (Path(environ["PERFOPT_CONFIG"]) if environ.get("PERFOPT_CONFIG") else None)
    read = read_yaml(named, what="configuration file") if named else YamlDocument("environment", {})
    known = (*SCALARS, *_MAPPINGS, *section_names())
    document = with_options(with_environment(read, environ), given, known)
    for key in document.data:
        if key not in known:
            document.fail((key,), f"There is no section {key!r}.", suggestion(key, known))
    return _build(document)


def section_names() -> tuple[str, ...]:
    """Returns the names of the sections that installed extensions add, without importing them."""
    return tuple(sorted({point.name for point in entry_points(group=SECTION_GROUP)}))


def _build(document: YamlDocument) -> Config:
    parts = {key: _mapping(document, key) for key in (*_MAPPINGS, *section_names())}
    sources: dict[str, SourceConfig] = {
        name: document.convert(value, SourceConfig, ("sources", name), lax=True)  # type: ignore[arg-type]
        for name, value in parts["sources"].items()
    }
    books = {
        name: price_book(document, value, ("price_books", name), name, lax=True)
        for name, value in parts["price_books"].items()
    }
    engine, unclaimed = _engine(parts["engine"])
    config = Config(
        sources=sources,
        default_source=_text(document, "default_source"),
        price_books={DEFAULT_PRICE_BOOK.name: DEFAULT_PRICE_BOOK, **books},
        price_book=_text(document, "price_book") or DEFAULT_PRICE_BOOK.name,
        engine=document.convert(engine, EngineConfig, ("engine",), lax=True),
        rules=document.convert(parts["rules"], RulesConfig, ("rules",), lax=True),
        sections={name: parts[name] for name in section_names()},
        plugins={name: _mapping(document, PLUGINS, name) for name in parts[PLUGINS]},
        unclaimed=unclaimed,
        document=document,
    )
    _check_references(document, config)
    return config


def _engine(written: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parts the engine's settings from those that a plugin may claim as an old name of one of its own.

    What resembles a setting of the engine is taken for a slip, and refused before plugins are known.
    """
    known = EngineConfig.__struct_encode_fields__
    unclaimed = {
        key: value
        for key, value in written.items()
        if key not in known and not difflib.get_close_matches(key, known, n=1)
    }
    return {key: value for key, value in written.items() if key not in unclaimed}, unclaimed


def _mapping(document: YamlDocument, *path: str) -> dict[str, Any]:
    value: Any = document.data
    for key in path:
        value = value.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        document.fail(path, "This is not a mapping.", "Write `name: value` lines below it.")
    return value


def _text(document: YamlDocument, key: str) -> str | None:
    return document.convert(document.data.get(key), str | None, (key,))  # type: ignore[arg-type]


def _check_references(document: YamlDocument, config: Config) -> None:
    for key, value, known in (
        ("default_source", config.default_source, config.sources),
        ("price_book", config.price_book, config.price_books),
    ):
        if value is not None and value not in known:
            document.fail((key,), f"{value!r} is not configured.", suggestion(value, tuple(known)))


def written(config: Config) -> dict[str, Any]:
    """Returns a configuration as plain data that `load_config` reads the same from, defaults filled in."""
    names = ("sources", "default_source", "price_books", "price_book", "engine", "rules", PLUGINS)
    data = {name: msgspec.to_builtins(getattr(config, name)) for name in names}
    data["engine"] |= config.unclaimed
    data["price_books"] = {
        key: {field: book[field] for field in PriceBookConfig.__struct_fields__}
        for key, book in data["price_books"].items()
    }
    return data | config.sections
