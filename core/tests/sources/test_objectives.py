import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.domain.workload import Slo, WorkloadId
from perfopt.errors import InvalidInputError
from perfopt.sources.files.services import read_services
from perfopt.sources.objectives import annotated_objective, read_openslo
from perfopt.sources.prometheus.answer import InstantSample
from perfopt.sources.prometheus.kube_state import KubeState

RATIO = """apiVersion: openslo/v1
kind: SLO
metadata: {name: checkout-latency}
spec:
  service: check_out
  indicator:
    metadata: {name: fast}
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource:
            type: Prometheus
            spec: {query: 'sum(rate(http_request_duration_seconds_bucket{le="0.25"}[5m]))'}
        total:
          metricSource: {type: Prometheus, spec: {query: 'sum(rate(http_requests_total[5m]))'}}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
"""
THRESHOLD = """apiVersion: openslo/v1
kind: SLI
metadata: {name: p95}
spec:
  thresholdMetric:
    metricSource:
      type: Prometheus
      spec: {query: 'histogram_quantile(0.95, sum by (le) (rate(took_milliseconds_bucket[5m])))'}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: quotes-latency}
spec:
  service: quotes
  indicatorRef: p95
  objectives: [{op: lte, value: 40, target: 0.999}]
"""


def read(tmp_path, text):
    path = tmp_path / "slos.yaml"
    path.write_text(text)
    return read_openslo([path])


def test_a_bucket_of_good_events_is_the_latency_and_the_target_its_quantile(tmp_path):
    assert read(tmp_path, RATIO) == {"check-out": Slo(latency_ms=250.0, quantile=0.99)}


def test_a_threshold_on_a_quantile_keeps_the_quantile_of_its_query(tmp_path):
    assert read(tmp_path, THRESHOLD) == {"quotes": Slo(latency_ms=40.0, quantile=0.95)}


def test_annotations_state_what_a_query_does_not(tmp_path):
    text = RATIO.replace("http_request_duration_seconds_bucket", "checkout_bucket").replace(
        "{name: checkout-latency}", "{name: checkout-latency, annotations: {perfopt.io/slo-unit: s}}"
    )
    assert read(tmp_path, text)["check-out"].latency_ms == 250.0


def test_of_several_objectives_the_highest_quantile_counts(tmp_path):
    looser = RATIO.replace("0.99", "0.5").replace('le="0.25"', 'le="0.05"')
    assert read(tmp_path, f"{looser}---\n{RATIO}")["check-out"] == Slo(latency_ms=250.0, quantile=0.99)


def test_other_kinds_and_comments_are_passed_over(tmp_path):
    other = "# services\n---\napiVersion: openslo/v1\nkind: Service\nmetadata: {name: x}\nspec: {}\n"
    assert len(read(tmp_path, f"{other}---\n{RATIO}")) == 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('le="0.25"', 'code="200"', "no latency bucket"),
        ("http_request_duration_seconds_bucket", "checkout_bucket", "unit"),
        ("[{target: 0.99}]", "[{}]", "no target"),
        ("[{target: 0.99}]", "[{target: 0.99}, {target: 0.9}]", "one objective"),
        ("ratioMetric", "otherMetric", "neither"),
        ("openslo/v1", "openslo/v9", "not an OpenSLO"),
        ("target: 0.99", "target: 99", "target"),
        ("indicator:\n", "indicatorRef: gone\n  unused:\n", "gone"),
    ],
)
def test_what_is_not_clear_is_refused_with_file_and_line(tmp_path, old, new, says):
    with pytest.raises(InvalidInputError) as caught:
        read(tmp_path, f"# first\n---\n{RATIO.replace(old, new)}")
    assert says in str(caught.value)
    assert "slos.yaml:" in str(caught.value)


def test_a_threshold_without_a_quantile_is_refused(tmp_path):
    text = THRESHOLD.replace("histogram_quantile(0.95, sum by (le) (", "(((").replace(", target: 0.999", "")
    with pytest.raises(InvalidInputError, match="quantile"):
        read(tmp_path, text)


def test_a_services_file_names_openslo_documents_beside_it(tmp_path):
    (tmp_path / "slos.yaml").write_text(RATIO)
    services = tmp_path / "services.yaml"
    services.write_text("openslo: [slos.yaml]\nservices:\n  check-out: {}\n  own: {slo: {latency_ms: 5}}\n")
    file = read_services(services)
    assert file.objective("check-out", file.services["check-out"]) == Slo(latency_ms=250.0)
    assert file.objective("own", file.services["own"]) == Slo(latency_ms=5.0)
    assert file.objective("other", file.defaults) is None


def test_annotations_in_a_services_file_state_an_objective_and_are_checked(tmp_path):
    services = tmp_path / "services.yaml"
    services.write_text('services:\n  a: {annotations: {perfopt.io/slo-latency-ms: "80"}}\n')
    assert read_services(services).services["a"].slo == Slo(latency_ms=80.0)
    services.write_text("services:\n  a: {annotations: {perfopt.io/slo-latency-ms: fast}}\n")
    with pytest.raises(InvalidInputError, match="'fast' is not a positive number"):
        read_services(services)


def test_annotations_of_a_cluster_state_objectives_and_a_wrong_one_costs_no_other():
    def sample(name, **annotations):
        labels = {"namespace": "shop", "deployment": name, "__name__": "kube_deployment_annotations"}
        return InstantSample(labels | {f"annotation_{key}": value for key, value in annotations.items()}, 1.0)

    names = [
        "replicas",
        "rollout_replicas",
        "cronjobs",
        "pod_owners",
        "replicaset_owners",
        "job_owners",
        "hpa",
    ]
    names += [
        "containers",
        "sidecars",
        "requests",
        "limits",
        "sidecar_requests",
        "sidecar_limits",
        "vpa",
        "runtimes",
        "zones",
    ]
    names += ["zones", "hpa_min", "hpa_max", "hpa_targets", "labels", "pods_created"]
    samples = {name: [] for name in names}
    for name in ("web", "wrong", "plain"):
        samples["replicas"].append(InstantSample({"namespace": "shop", "deployment": name}, 1.0))
    samples["labels"] = [
        sample("web", perfopt_io_slo_latency_ms="120", perfopt_io_slo_quantile="0.95"),
        sample("wrong", perfopt_io_slo_latency_ms="soon"),
    ]
    state = KubeState(samples=samples, cluster_label="cluster", objectives={"plain": Slo(latency_ms=9.0)})
    found = {workload.service_name: workload for workload in state.workloads()}
    assert found["web"].slo == Slo(latency_ms=120.0, quantile=0.95)
    assert found["web"].annotations["perfopt.io/slo-latency-ms"] == "120"
    assert found["wrong"].slo is None
    assert found["plain"].slo == Slo(latency_ms=9.0)
    assert found["web"].id == WorkloadId(namespace="shop", kind="Deployment", name="web")


@given(latency=st.floats(0.001, 1e6), quantile=st.floats(0.01, 0.999))
def test_any_sensible_annotation_is_read_as_written(latency, quantile):
    stated = {"perfopt.io/slo-latency-ms": str(latency), "perfopt.io/slo-quantile": str(quantile)}
    assert annotated_objective(stated) == Slo(latency_ms=latency, quantile=quantile)


@pytest.mark.parametrize("value", ["", "nan", "-1", "0", "inf", "250ms"])
def test_no_positive_number_is_no_latency(value):
    with pytest.raises(InvalidInputError, match=r"perfopt\.io/slo-latency-ms"):
        annotated_objective({"perfopt.io/slo-latency-ms": value})


def test_a_quantile_is_below_one():
    with pytest.raises(InvalidInputError, match="not a quantile"):
        annotated_objective({"perfopt.io/slo-latency-ms": "5", "perfopt.io/slo-quantile": "99"})
