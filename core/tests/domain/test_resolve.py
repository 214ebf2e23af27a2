import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.domain.resolve import resolve_workload
from perfopt.domain.workload import Workload, WorkloadId, WorkloadState
from perfopt.errors import AmbiguousError, NotFoundError


def workload(name, namespace="", kind="", cluster="", label=None, service_name=None):
    return Workload(
        id=WorkloadId(name=name, namespace=namespace, kind=kind, cluster=cluster),
        service_name=service_name or name,
        state=WorkloadState(containers=()),
        labels={} if label is None else {"app.kubernetes.io/name": label},
    )


CLUSTER = (
    workload("portfolio-management-service", "trading", "Deployment"),
    workload("web-7", "trading", "Deployment", label="storefront"),
    workload("api", "trading", "Deployment", "east"),
    workload("api", "trading", "Deployment", "west"),
    workload("api", "risk", "Deployment", "east"),
    workload("cache", "trading", "Deployment"),
    workload("cache", "trading", "StatefulSet"),
    workload("queue", "trading", "Deployment", label="cache-warmer"),
    workload("cache-warmer", "risk", "Deployment"),
)


def full(name, workloads=CLUSTER):
    return str(resolve_workload(name, workloads).id)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("portfolio_management_service", "trading/deployment/portfolio-management-service"),
        ("Portfolio-Management-Service", "trading/deployment/portfolio-management-service"),
        ("storefront", "trading/deployment/web-7"),
        ("web-7", "trading/deployment/web-7"),
        ("trading/portfolio_management_service", "trading/deployment/portfolio-management-service"),
        ("risk/api", "east/risk/deployment/api"),
        ("east/trading/api", "east/trading/deployment/api"),
        ("west/trading/deployment/api", "west/trading/deployment/api"),
        ("trading/StatefulSet/cache", "trading/statefulset/cache"),
        ("cache-warmer", "trading/deployment/queue"),  # the label goes before the workload's name
    ],
)
def test_the_rules_in_their_order(name, found):
    assert full(name) == found


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        ("cache", ("trading/deployment/cache", "trading/statefulset/cache")),
        ("trading/cache", ("trading/deployment/cache", "trading/statefulset/cache")),
        ("trading/api", ("east/trading/deployment/api", "west/trading/deployment/api")),
    ],
)
def test_several_matches_are_listed_in_full(name, candidates):
    with pytest.raises(AmbiguousError) as caught:
        resolve_workload(name, CLUSTER)
    assert caught.value.candidates == candidates
    assert all(candidate in str(caught.value) for candidate in candidates)
    assert caught.value.field == "service_name"


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(NotFoundError) as caught:
        resolve_workload("portfolio_managment_service", CLUSTER)
    assert caught.value.candidates == ("portfolio-management-service",)
    assert "There is no service 'portfolio_managment_service'." in str(caught.value)
    assert "Nearest: portfolio-management-service." in str(caught.value)


def test_the_last_part_of_a_files_series_is_enough_to_find_what_was_meant():
    series = (workload("bitbrains-rnd/vm282"), workload("bitbrains-rnd/vm460"))
    with pytest.raises(NotFoundError) as caught:
        resolve_workload("vm28", series)
    assert caught.value.candidates == ("bitbrains-rnd/vm282",)


def test_no_more_than_five_candidates_and_none_that_are_far():
    many = tuple(workload(f"service-{number}") for number in range(100))
    with pytest.raises(NotFoundError) as caught:
        resolve_workload("service-x", many)
    assert len(caught.value.candidates) == 5
    with pytest.raises(NotFoundError, match="None of the 100 services of the source"):
        resolve_workload("zzz", many)
    with pytest.raises(NotFoundError, match="has no services"):
        resolve_workload("zzz", ())


SERIES = (
    "nezha/online-boutique/2022-08-22/frontend",
    "nezha/online-boutique/2022-08-23/frontend",
    "bitbrains/rnd/123",
    "frontend",
)


@pytest.mark.parametrize("name", SERIES)
def test_a_series_id_with_slashes_means_itself(name):
    assert full(name, tuple(workload(series) for series in SERIES)) == name


@given(st.lists(st.text("ab_-/", min_size=1, max_size=6), unique=True, min_size=1, max_size=8), st.data())
def test_the_exact_name_always_wins(names, data):
    workloads = tuple(workload(name) for name in names)
    name = data.draw(st.sampled_from(names))
    assert resolve_workload(name, workloads).service_name == name


@pytest.mark.parametrize("blank", ["", "  ", "_"])
def test_a_blank_name_is_not_the_name_of_everything_without_a_label(blank):
    with pytest.raises(NotFoundError):
        resolve_workload(blank, CLUSTER)
