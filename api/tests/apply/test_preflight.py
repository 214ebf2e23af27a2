"""The preflight that somebody asks for finds what an apply job would, and writes nothing."""

import pytest
from apply_driver import ApplyRun, change_of, order_of

from perfopt_api.apply.cluster import (
    Finding,
)
from perfopt_api.apply.preflight import PreflightRequest, preflight_report
from perfopt_api.apply.related import WorkloadOwners
from perfopt_api.store.apply_port import ApplyFacts, Freeze


async def report_of(run, order):
    request = PreflightRequest(order=order, workload="shop/deployment/api", requester="ann")
    report = await preflight_report(run.machine.tools, request, run.cluster.now)
    assert run.cluster.writes == []
    return report


async def test_a_change_that_nothing_stands_against_passes(cluster, target):
    order = order_of(change_of(target))
    report = await report_of(ApplyRun(cluster, order), order)
    assert report.passed
    assert [one.code for one in report.findings] == ["passed", "gates"]
    assert report.at == cluster.now


async def test_a_finding_that_does_not_block_is_noted(cluster, target):
    cluster.findings = [Finding(code="qos_class", message="The class changes.", blocking=False)]
    order = order_of(change_of(target))
    report = await report_of(ApplyRun(cluster, order), order)
    assert report.passed
    assert ("noted", "qos_class") in [(one.outcome, one.code) for one in report.findings]


async def test_what_blocks_is_refused_with_its_remedy(cluster, target):
    cluster.workloads[target.key].owners = WorkloadOwners(argo_cd="shop")
    order = order_of(change_of(target))
    report = await report_of(ApplyRun(cluster, order), order)
    assert not report.passed
    (finding,) = report.findings
    assert (finding.outcome, finding.code) == ("refused", "argo_cd_owned")
    assert "export" in finding.remedy


async def test_a_workload_that_is_gone_is_refused(cluster, target):
    order = order_of(change_of(target))
    del cluster.workloads[target.key]
    (finding,) = (await report_of(ApplyRun(cluster, order), order)).findings
    assert finding.outcome == "refused"


@pytest.mark.parametrize("missing", [["latency"], []])
async def test_what_holds_it_back_waits(cluster, target, missing):
    order = order_of(change_of(target))
    frozen = ApplyFacts(freezes=(Freeze(scope="*", reason="year end", principal="ann"),))
    run = ApplyRun(cluster, order, facts=None if missing else frozen)
    run.verifier.missing = missing
    report = await report_of(run, order)
    assert not report.passed
    assert report.findings[-1].outcome == "waits"
    assert (missing[0] if missing else "year end") in report.findings[-1].message
