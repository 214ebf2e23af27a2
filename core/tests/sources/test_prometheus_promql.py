import re
from importlib.resources import files

import pytest

from perfopt.errors import InvalidInputError
from perfopt.metrics.catalogue import METRICS
from perfopt.sources.prometheus.promql import load_catalogue, names_in, one_of

OWN_CPU = """
metrics:
  cpu_cores:
    - name: recording-rule
      query: max by ($by, pod, container) (last_over_time(our:cpu:rate{$selector}[$step] offset 1ms))
"""


def wrong(tmp_path, text):
    path = tmp_path / "catalogue.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError) as caught:
        load_catalogue(str(path))
    return str(caught.value)


def test_an_installation_s_entry_replaces_the_built_in_one_and_leaves_the_others(tmp_path):
    path = tmp_path / "catalogue.yaml"
    path.write_text(OWN_CPU)
    own, built_in = load_catalogue(str(path)), load_catalogue()
    assert [alternative.name for alternative in own.metrics["cpu_cores"]] == ["recording-rule"]
    assert own.metrics["memory_bytes"] == built_in.metrics["memory_bytes"]
    assert own.state == built_in.state


def test_a_state_query_can_be_replaced(tmp_path):
    path = tmp_path / "catalogue.yaml"
    path.write_text("state: {cronjobs: 'max by ($cluster, namespace, cronjob) (x{$matchers} offset 1ms)'}")
    assert "(x{" in load_catalogue(str(path)).state["cronjobs"]


def test_the_built_in_catalogue_passes_the_checks_of_an_installation_s_own(tmp_path):
    path = tmp_path / "catalogue.yaml"
    path.write_text(files("perfopt.sources.prometheus").joinpath("promql.yaml").read_text("utf-8"))
    assert load_catalogue(str(path)) == load_catalogue()


def test_every_range_of_the_built_in_catalogue_ends_before_the_step_does():
    catalogue = load_catalogue()
    alternatives = [a for alternatives in catalogue.metrics.values() for a in alternatives]
    queries = [q for a in alternatives for q in (a.query, a.per, a.where, a.resets) if q is not None]
    for query in [*queries, *catalogue.state.values()]:
        ranges = re.findall(r"\[[^]]+\](.{0,20})", query, re.DOTALL)
        assert all(re.match(r"\s+offset (1ms|[1-9]\d*m)\b", after) for after in ranges), query


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ('rate(a_total{x="b{",$selector}[$window])', {"a_total"}),
        ("1 - sum(a{$selector}) / sum by (z) (b:c{$selector}) or 0 * d {$selector}", {"a", "b:c", "d"}),
        ('last_over_time({__name__=~"a|b",$selector}[$step])', set()),
        ("absent(a{$selector})", set()),
        ("vector(1) - a{$selector}", set()),
    ],
)
def test_a_query_says_which_metrics_it_reads_or_that_it_can_t_be_said(query, names):
    assert names_in(query) == names


def test_every_metric_of_the_catalogue_is_known():
    assert set(load_catalogue().metrics) <= set(METRICS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metrics: [", "is not YAML"),
        ("metrics: {cpu: []}", "metrics.cpu is no metric perfopt knows. Known: cpu_cores, memory_bytes"),
        ("metrics: {cpu_cores: [{name: a}]}", "missing required field `query` - at `$.metrics[...][0]`"),
        ("metrics: {cpu_cores: [{name: a, query: x, tries: 3}]}", "unknown field `tries`"),
        ("metrics: {cpu_cores: [{name: a, query: 'x[$step]'}]}", "would read the sample at the very end"),
        (
            "metrics: {cpu_cores: [{name: a, query: 'x{$selektor} offset 1ms'}]}",
            "metrics.cpu_cores[0].query has the unknown placeholder $selektor. Known: $by, $pattern",
        ),
        ("metrics: {cpu_cores: [{name: a, query: 'x{a=\"b$\"} offset 1ms'}]}", "Write $$ for a dollar sign"),
        (
            "metrics: {latency_p99_ms: [{name: a, query: 'x($quantile) offset 1ms'}]}",
            "names $quantile, which is not given. Add `quantile: 0.99`.",
        ),
        (
            "metrics: {cpu_cores: [{name: a, match: workload, query: 'x offset 1ms'}]}",
            "is per container, but matched by workload. Match by pod.",
        ),
        (
            "metrics: {cpu_cores: [{name: a, query: 'x offset 1ms', per: 'y[$step]'}]}",
            "would read the sample at the very end",
        ),
        (
            "metrics: {oom_kills: [{name: a, query: 'x offset 1ms', where: 'y offset 1ms'}]}",
            "has a `where` and is no counter. Add `counter: true`.",
        ),
        (
            "metrics: {replicas: [{name: a, query: 'x offset 1ms', only: {a: b}}]}",
            "is per workload, where `only`, `per` and `where` mean nothing. Write it in PromQL.",
        ),
        ("state: {pods: x}", "state.pods is no query perfopt makes. Known: replicas"),
        ("sources: {}", "unknown field `sources`"),
    ],
)
def test_a_wrong_entry_is_named_with_what_to_write_instead(tmp_path, text, expected):
    assert expected in wrong(tmp_path, text)


def test_a_catalogue_that_is_not_there_is_named():
    with pytest.raises(InvalidInputError, match=r"the catalogue /nowhere\.yaml cannot be read: No such file"):
        load_catalogue("/nowhere.yaml")


def test_names_are_matched_literally():
    assert one_of("pod", ["a"]) == 'pod="a"'
    assert one_of("pod", ["b.c", "a", "a"]) == 'pod=~"a|b\\\\.c"'
    assert one_of("pod", ['x"y']) == 'pod="x\\"y"'
