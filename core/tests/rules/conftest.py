"""Packs written in a test, and contexts to run them on."""

from dataclasses import replace
from textwrap import dedent

import msgspec
import numpy as np
import pytest

from perfopt.config.loading import RulesConfig
from perfopt.plugin import OptimizationType, Proposal, WorkloadId
from perfopt.rules import RuleBook, RuleSources
from perfopt.testing import make_context, make_snapshot

HEADER = "apiVersion: perfopt.io/v1\nkind: RulePack\nversion: 1.0.0\ndescription: Of a test.\n"
MIB = 2**20


@pytest.fixture
def pack(tmp_path):
    """Writes a pack of that name and returns its path."""

    def write(body, name="mine"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"{HEADER}name: {name}\n{dedent(body)}")
        return str(path)

    return write


@pytest.fixture
def book():
    """Returns the rules of an installation with the configuration given."""

    def make(**config):
        return RuleBook(RuleSources.read(msgspec.convert(config, RulesConfig)))

    return make


@pytest.fixture
def situation():
    """Returns a context: one container "main" that holds 100Mi and uses 0.1 cores, two replicas."""

    def make(*, namespace="", annotations=None, labels=None, sessions=None, cluster="", now=None, **state):
        values = np.full(14 * 288, 100.0 * MIB)
        metrics = {"main": {"cpu_cores": values * 0 + 0.1, "memory_bytes": values}}
        snapshot = make_snapshot(metrics, **({} if now is None else {"end": now}))
        workload = msgspec.structs.replace(
            snapshot.workload,
            id=WorkloadId(name="web", namespace=namespace, cluster=cluster),
            annotations=annotations or {},
            labels=labels or {},
            state=msgspec.structs.replace(snapshot.workload.state, **state),
        )
        return replace(make_context(replace(snapshot, workload=workload)), sessions=sessions or {})

    return make


@pytest.fixture
def propose():
    """Returns a proposal for a context, which changes the container's quantities and the state's fields."""

    def make(context, state=None, kind=OptimizationType.RESOURCE_OPTIMIZATION, **quantities):
        now = context.snapshot.workload.state
        container = msgspec.structs.replace(now.containers[0], **quantities)
        target = msgspec.structs.replace(now, containers=(container,), **(state or {}))
        return Proposal(optimization_type=kind, target=target, description="Do it.")

    return make


@pytest.fixture
def run(book, situation, propose):
    """Runs the rules of a configuration on a proposal."""

    def apply(config, proposal=None, context=None, **quantities):
        context = context if context is not None else situation()
        proposal = proposal if proposal is not None else propose(context, **quantities)
        return book(**config).rules_for(context.snapshot.workload).apply(proposal, context)

    return apply
