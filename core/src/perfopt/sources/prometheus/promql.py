"""The catalogue of PromQL templates: the built-in one, an installation's changes to it, and rendering."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal

import msgspec
import yaml

from perfopt.config.documents import YAML_LOADER
from perfopt.errors import InvalidInputError
from perfopt.metrics.catalogue import METRICS

_PLACEHOLDERS = {
    "metrics": {"selector", "by", "step", "window", "wide", "replicas", "target", "pattern", "quantile"},
    "pods": {"selector", "by", "window", "replicas", "target"},
    "state": {"matchers", "cluster", "lookback", "selector", "by", "step", "period", "look", "every"},
}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTED = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*\{")
_FROM_NOTHING = re.compile(r"\b(?:absent|absent_over_time|vector|time)\s*\(")
_NEVER_READS_THE_END = re.compile(r"offset\s+\S*1ms")
_ENDPOINT_SELECTORS = (
    "pods_of_owners",
    "replicasets_of_owners",
    "replicationcontrollers_of_owners",
    "jobs_of_owners",
    "images_of_pods",
)


class QueryAlternative(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to ask for a metric; the attributes are described in promql.yaml."""

    name: str
    query: str
    match: Literal["pod", "workload"] = "pod"
    label: str = "pod"
    namespace_label: str = "namespace"
    kinds: list[str] = []
    only: dict[str, str] = {}
    per: str | None = None
    counter: bool = False
    appears: bool = False
    resets: str | None = None
    where: str | None = None
    rarely: bool = False
    unless: str | None = None
    quantile: float | None = None


class PodCounter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to ask for a counter of each pod; the attributes are described in promql.yaml."""

    name: str
    query: str
    scale: float = 1.0


class QueryCatalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Metric name to its alternatives in order; counters by pod; queries for inventory and state by name."""

    metrics: dict[str, list[QueryAlternative]] = {}
    pods: dict[str, list[PodCounter]] = {}
    state: dict[str, str] = {}


def load_catalogue(override: str | None = None) -> QueryCatalogue:
    """Returns the built-in catalogue, with an installation's entries in place of those of the same name.

    Raises:
        InvalidInputError: the file is missing, is not YAML, or an entry is wrong; names the entry.
    """
    shipped = files("perfopt.sources.prometheus").joinpath("promql.yaml").read_text("utf-8")
    built_in = _decoded(shipped, "promql.yaml")
    if override is None:
        return built_in
    try:
        text = Path(override).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"the catalogue {override} cannot be read: {getattr(error, 'strerror', None) or error}.",
            field="catalogue",
            remedy="Check the path and its mode.",
        ) from error
    own = _decoded(text, override)
    _check(own, built_in, override)
    return QueryCatalogue(
        metrics=built_in.metrics | own.metrics,
        pods=built_in.pods | own.pods,
        state=built_in.state | own.state,
    )


def render(template: str, values: Mapping[str, str]) -> str:
    """Returns the PromQL of a template whose placeholders were checked on loading."""
    return Template(template).substitute(values)


@cache
def names_in(query: str) -> frozenset[str]:
    """Returns the metrics that a query reads: where a server has none of them its answer is empty.

    Empty where that is not known: a selector without a name, or a function that makes something of nothing.
    """
    bare = _STRING.sub('""', query)
    names = _SELECTED.findall(bare)
    if "" in names or _FROM_NOTHING.search(bare):
        return frozenset()
    return frozenset(names)


def quote(text: str) -> str:
    """Returns a PromQL string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def one_of(label: str, values: Iterable[str]) -> str:
    """Returns a matcher for a label with one of several literal values.

    Prometheus looks such alternations up in the index instead of trying the expression on each value.
    """
    distinct = sorted(set(values))
    if len(distinct) == 1:
        return f"{label}={quote(distinct[0])}"
    return f"{label}=~{quote('|'.join(escape_regex(value) for value in distinct))}"


def escape_regex(text: str) -> str:
    """Escapes what RE2 gives a meaning; Kubernetes names hold only dots and dashes of it."""
    return re.sub(r"([.+*?()|\[\]{}^$\\])", r"\\\1", text)


def _decoded(text: str, where: str) -> QueryCatalogue:
    try:
        return msgspec.convert(yaml.load(text, YAML_LOADER) or {}, QueryCatalogue)  # noqa: S506  safe
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidInputError(
            f"{where} is not YAML: {error}.", field="catalogue", remedy=_COMPARE
        ) from error
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"{where}: {error}.", field="catalogue", remedy=_COMPARE) from error


_COMPARE = "Compare it with promql.yaml of the package, which has the same keys."


def _check(own: QueryCatalogue, built_in: QueryCatalogue, where: str) -> None:
    for name, alternatives in own.metrics.items():
        if name not in METRICS:
            raise _wrong(
                where, f"metrics.{name}", "is no metric perfopt knows", f"Known: {', '.join(METRICS)}."
            )
        for number, alternative in enumerate(alternatives):
            _check_alternative(alternative, name, where, f"metrics.{name}[{number}].query")
    for name, counters in own.pods.items():
        if name not in built_in.pods:
            known = ", ".join(built_in.pods)
            raise _wrong(where, f"pods.{name}", "is no counter perfopt reads", f"Known: {known}.")
        for number, counter in enumerate(counters):
            _check_query(counter.query, "pods", where, f"pods.{name}[{number}].query")
    for name, query in own.state.items():
        if name not in built_in.state:
            known = ", ".join(built_in.state)
            raise _wrong(where, f"state.{name}", "is no query perfopt makes", f"Known: {known}.")
        _check_query(query, "state", where, f"state.{name}", is_selector=name in _ENDPOINT_SELECTORS)


def _check_alternative(alternative: QueryAlternative, name: str, where: str, entry: str) -> None:
    for query in (alternative.query, alternative.per, alternative.where, alternative.resets):
        if query is not None:
            _check_query(query, "metrics", where, entry)
    if alternative.where is not None and not alternative.counter:
        raise _wrong(where, entry, "has a `where` and is no counter", "Add `counter: true`.")
    if METRICS[name].scope == "container" and alternative.match != "pod":
        raise _wrong(where, entry, "is per container, but matched by workload", "Match by pod.")
    if METRICS[name].scope == "workload" and (alternative.per or alternative.where or alternative.only):
        raise _wrong(
            where,
            entry,
            "is per workload, where `only`, `per` and `where` mean nothing",
            "Write it in PromQL.",
        )
    if "$quantile" in alternative.query and alternative.quantile is None:
        raise _wrong(where, entry, "names $quantile, which is not given", "Add `quantile: 0.99`.")


def _check_query(query: str, section: str, where: str, entry: str, *, is_selector: bool = False) -> None:
    template = Template(query)
    if not template.is_valid():
        raise _wrong(
            where, entry, "has a dollar sign that begins no placeholder", "Write $$ for a dollar sign."
        )
    known = _PLACEHOLDERS[section]
    if unknown := set(template.get_identifiers()) - known:
        raise _wrong(
            where,
            entry,
            f"has the unknown placeholder ${min(unknown)}",
            f"Known: {', '.join('$' + name for name in sorted(known))}.",
        )
    if not is_selector and not _NEVER_READS_THE_END.search(query):
        raise _wrong(
            where,
            entry,
            "would read the sample at the very end of the period",
            "Write `offset 1ms` after each range, as promql.yaml does.",
        )


def _wrong(where: str, entry: str, what: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"{where}: {entry} {what}.", field="catalogue", remedy=remedy)
