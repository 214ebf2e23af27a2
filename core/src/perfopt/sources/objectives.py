"""Latency objectives from annotations of workloads and from OpenSLO documents."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
from msgspec import Meta

from perfopt.config.documents import YamlDocument, parse_yaml, read_text
from perfopt.domain.workload import Slo
from perfopt.errors import InvalidInputError

LATENCY_ANNOTATION = "perfopt.io/slo-latency-ms"
QUANTILE_ANNOTATION = "perfopt.io/slo-quantile"
UNIT_ANNOTATION = "perfopt.io/slo-unit"
_VERSIONS = ("openslo/v1", "openslo/v1alpha")
_BUCKET = re.compile(r'\ble\s*=\s*"([0-9.]+(?:[eE][+-]?[0-9]+)?)"')
_QUANTILE = re.compile(r"\bhistogram_quantile\s*\(\s*([0-9.]+)")
_MILLISECONDS = {"ms": 1.0, "s": 1000.0}
_SECONDS_NAME, _MILLISECONDS_NAME = re.compile(r"_seconds(_|\b)"), re.compile(r"_(ms|milliseconds)(_|\b)")
_BELOW = ("lte", "lt")


class _OpenSloMetric(msgspec.Struct, frozen=True, rename="camel"):
    metric_source: dict[str, Any] = {}


class _RatioMetric(msgspec.Struct, frozen=True):
    good: _OpenSloMetric | None = None


class _ServiceLevelIndicator(msgspec.Struct, frozen=True, rename="camel"):
    threshold_metric: _OpenSloMetric | None = None
    ratio_metric: _RatioMetric | None = None


class _ServiceLevelObjective(msgspec.Struct, frozen=True, rename="camel"):
    op: str | None = None
    value: Annotated[float, Meta(gt=0)] | None = None
    target: Annotated[float, Meta(gt=0, lt=1)] | None = None
    target_percent: Annotated[float, Meta(gt=0, lt=100)] | None = None

    @property
    def share(self) -> float | None:
        """Share of the requests that must be good."""
        return self.target_percent / 100 if self.target is None and self.target_percent else self.target


class _OpenSloSpec(msgspec.Struct, frozen=True, rename="camel"):
    service: str
    objectives: tuple[_ServiceLevelObjective, ...]
    indicator_ref: str | None = None


def normalised(name: str) -> str:
    """Returns a service's name as names are compared: `_` and `-` are alike."""
    return name.replace("_", "-")


def annotated_objective(annotations: Mapping[str, str]) -> Slo | None:
    """Returns the objective that annotations state: latency in ms, and a quantile (0.99 unless stated).

    Raises:
        InvalidInputError: they state one that makes no sense; names the annotation.
    """
    stated = annotations.get(LATENCY_ANNOTATION)
    if stated is None:
        return None
    latency = _number(stated, LATENCY_ANNOTATION, "250")
    quantile = _number(annotations.get(QUANTILE_ANNOTATION, "0.99"), QUANTILE_ANNOTATION, "0.99")
    if not 0 < quantile < 1:
        raise InvalidInputError(
            f"{quantile:g} is not a quantile.", field=QUANTILE_ANNOTATION, remedy="Write 0.99, for example."
        )
    return Slo(latency_ms=latency, quantile=quantile)


def _number(text: str, name: str, example: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise InvalidInputError(
            f"{text!r} is not a positive number.", field=name, remedy=f"Write {example!r}, for example."
        )
    return value


def read_openslo(paths: Sequence[Path]) -> dict[str, Slo]:
    """Reads the latency objectives of OpenSLO documents (openslo/v1), by normalised name of the service.

    Objects of other kinds are passed over. An SLO's latency is read from one of

    * ratioMetric: the good events are those of a histogram's bucket, `le="0.25"`; `target` is the quantile;
    * thresholdMetric with `op: lte` and `value`: the quantile is that of `histogram_quantile` in the query,
      else the annotation perfopt.io/slo-quantile, else `target`.

    The unit follows from the metric's name (`_seconds`, `_milliseconds`), else from the annotation
    perfopt.io/slo-unit. Where a service has several, the highest quantile counts.

    Raises:
        InvalidInputError: unreadable, or an SLO whose latency is not clear; names file and line.
    """
    objectives: dict[str, Slo] = {}
    documents = [document for path in paths for document in _documents(path)]
    indicators = {
        _name(document): (document, ("spec",)) for document in documents if document.data.get("kind") == "SLI"
    }
    for document in documents:
        if document.data.get("kind") == "SLO":
            service, slo = _objective(document, indicators)
            other = objectives.get(normalised(service))
            if other is None or other.quantile < slo.quantile:
                objectives[normalised(service)] = slo
    return objectives


def _documents(path: Path) -> Iterator[YamlDocument]:
    """Parses each document of a file on its own, where it stands, so that errors name the right line."""
    lines = read_text(path, "OpenSLO document").splitlines()
    starts = [0, *(number + 1 for number, line in enumerate(lines) if line.rstrip() == "---")]
    for begin, end in zip(starts, [*(start - 1 for start in starts[1:]), len(lines)], strict=True):
        if not any(line.strip() and not line.lstrip().startswith("#") for line in lines[begin:end]):
            continue
        document = parse_yaml("\n" * begin + "\n".join(lines[begin:end]), str(path), what="OpenSLO document")
        if document.data.get("apiVersion") not in _VERSIONS:
            document.fail(("apiVersion",), "This is not an OpenSLO object.", f"Write {_VERSIONS[0]}.")
        yield document


def _name(document: YamlDocument) -> str:
    metadata = document.data.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""


def _objective(
    document: YamlDocument, indicators: Mapping[str, tuple[YamlDocument, tuple[str, ...]]]
) -> tuple[str, Slo]:
    spec = document.convert(document.data.get("spec"), _OpenSloSpec, ("spec",))
    at, path = _indicator_at(document, spec, indicators)
    raw: Any = at.data
    for key in path:
        raw = raw.get(key) if isinstance(raw, dict) else None
    indicator = at.convert(raw, _ServiceLevelIndicator, path)
    if len(spec.objectives) != 1:
        _unclear(document, "has not one objective", "Keep one objective in each SLO.")
    objective = spec.objectives[0]
    if indicator.ratio_metric is not None:
        return spec.service, _from_ratio(document, indicator.ratio_metric, objective)
    if indicator.threshold_metric is None:
        _unclear(document, "has neither a thresholdMetric nor a ratioMetric", "Give its indicator one.")
    return spec.service, _from_threshold(document, indicator.threshold_metric, objective)


def _indicator_at(
    document: YamlDocument, spec: _OpenSloSpec, indicators: Mapping[str, tuple[YamlDocument, tuple[str, ...]]]
) -> tuple[YamlDocument, tuple[str, ...]]:
    if spec.indicator_ref is None:
        return document, ("spec", "indicator", "spec")
    if spec.indicator_ref not in indicators:
        document.fail(
            ("spec", "indicatorRef"),
            f"There is no SLI {spec.indicator_ref!r}.",
            "Put it into one of the files.",
        )
    return indicators[spec.indicator_ref]


def _from_ratio(document: YamlDocument, ratio: _RatioMetric, objective: _ServiceLevelObjective) -> Slo:
    query = _query(ratio.good)
    bucket = _BUCKET.search(query)
    if bucket is None:
        _unclear(
            document,
            'counts good events by no latency bucket (le="0.25")',
            "Only objectives of latency are read.",
        )
    if objective.share is None:
        _unclear(document, "has no target", "Write target: 0.99, for example.")
    return Slo(latency_ms=float(bucket[1]) * _factor(document, query), quantile=objective.share)


def _from_threshold(document: YamlDocument, metric: _OpenSloMetric, objective: _ServiceLevelObjective) -> Slo:
    query = _query(metric)
    if objective.value is None or (objective.op or "lte") not in _BELOW:
        _unclear(document, "does not say which latency to stay below", "Write op: lte and value: 0.25.")
    named = _QUANTILE.search(query)
    stated = _annotations(document).get(QUANTILE_ANNOTATION)
    quantile = _number(stated, QUANTILE_ANNOTATION, "0.99") if stated else objective.share
    quantile = float(named[1]) if named else quantile
    if quantile is None or not 0 < quantile < 1:
        _unclear(document, "names no quantile", f"Annotate it with {QUANTILE_ANNOTATION}.")
    return Slo(latency_ms=objective.value * _factor(document, query), quantile=quantile)


def _factor(document: YamlDocument, query: str) -> float:
    """Returns how many ms the unit of a query is."""
    stated = _annotations(document).get(UNIT_ANNOTATION)
    if stated is not None and stated not in _MILLISECONDS:
        document.fail(("metadata", "annotations"), f"{stated!r} is no unit of latency.", "Write ms or s.")
    if stated is not None:
        return _MILLISECONDS[stated]
    if _MILLISECONDS_NAME.search(query):
        return 1.0
    if not _SECONDS_NAME.search(query):
        _unclear(document, "does not say the unit of its latency", f"Annotate it with {UNIT_ANNOTATION}: ms.")
    return 1000.0


def _query(metric: _OpenSloMetric | None) -> str:
    source = metric.metric_source if metric is not None else {}
    spec = source.get("spec") or source
    return str(spec.get("query", "")) if isinstance(spec, dict) else ""


def _annotations(document: YamlDocument) -> dict[str, str]:
    metadata = document.data.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return {key: str(value) for key, value in annotations.items()} if isinstance(annotations, dict) else {}


def _unclear(document: YamlDocument, what: str, remedy: str) -> NoReturn:
    document.fail(("spec",), f"The SLO {_name(document)!r} {what}.", remedy)
