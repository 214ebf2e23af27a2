"""Checks what a strategy gives back: it is foreign code, and its values end up in a cluster."""

import math
from typing import Any

import msgspec

from perfopt.domain.fields import QUANTITIES, REQUEST_LIMIT_PAIRS
from perfopt.domain.recommendation import Declined
from perfopt.domain.workload import Container, WorkloadState
from perfopt.engine.messages import encode
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Claim, Proposal, Strategy

_MAX_BYTES = 128 * 1024  # of a result; the event that tells of it must fit into a message of NATS
_NUL = b"\\u0000"
_proposal = msgspec.msgpack.Decoder(Proposal)
_declined = msgspec.msgpack.Decoder(Declined)


class ProposalError(Exception):
    """A strategy broke the contract of proposals; the message goes after the strategy's name."""


def checked(result: Any, strategy: Strategy, context: AnalysisContext) -> Proposal | Declined:
    """Returns the result with plain values, its containers in the order of the current state.

    Raises:
        ProposalError: not a Proposal or Declined, of another type than the strategy's, values of the
            wrong type, or a target that is incomplete or impossible.
    """
    if not isinstance(result, Proposal | Declined):
        raise ProposalError(f"returned {type(result).__name__} in place of a Proposal or Declined")
    plain = _plain(result)
    if plain.optimization_type is not strategy.optimization_type:
        raise ProposalError(
            f"is of type {strategy.optimization_type} and returned a result of type {plain.optimization_type}"
        )
    if isinstance(plain, Declined):
        return plain
    _check_claim(plain.claim)
    if plain.prior is not None and not plain.prior.possible:
        raise ProposalError("gave a prior whose mean is not in [0, 1] or whose strength is not positive")
    target = _complete(plain.target, context)
    return msgspec.structs.replace(plain, target=target)


def _plain(result: Proposal | Declined) -> Proposal | Declined:
    """Sends the result through msgspec, as it will travel anyway: its types are right afterwards."""
    try:
        data = encode(result)
        plain = _proposal.decode(data) if isinstance(result, Proposal) else _declined.decode(data)
        text = msgspec.json.encode(plain)  # as it will be stored and shown
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ProposalError(f"returned a result that msgspec can't carry: {error}") from error
    if len(text) > _MAX_BYTES:
        raise ProposalError(f"returned a result of {len(text)} bytes where {_MAX_BYTES} are allowed")
    if _NUL in text:
        raise ProposalError("returned text with the character NUL, which cannot be stored")
    return plain


def _check_claim(claim: Claim) -> None:
    values = [claim.latency_ms, claim.latency_now_ms, claim.saving_percent, claim.performance_gain_percent]
    values.append(claim.simulated_saving_percent)
    intervals = [claim.latency_interval_ms or (), claim.latency_now_interval_ms or ()]
    values += [bound for interval in intervals for bound in interval]
    if not all(math.isfinite(value) for value in values if value is not None):
        raise ProposalError("made a claim that is not a finite number")
    if any(interval and interval[0] > interval[1] for interval in intervals):
        raise ProposalError("claimed a latency interval whose lower end is above its upper end")


def _complete(target: WorkloadState, context: AnalysisContext) -> WorkloadState:
    current = context.snapshot.workload.state
    known = [container.name for container in current.containers] or sorted(context.snapshot.containers)
    given = {container.name: container for container in target.containers}
    if len(given) != len(target.containers) or given.keys() != set(known):
        raise ProposalError(
            f"returned an incomplete target: it has the containers [{', '.join(given)}]"
            f" and the workload has [{', '.join(known)}]"
        )
    for name, container in given.items():
        _check_container(container, current.container(name))
    _check_replicas(target.replicas, current.replicas)
    return msgspec.structs.replace(target, containers=tuple(given[name] for name in known))


def _check_container(container: Container, current: Container | None) -> None:
    for field in QUANTITIES:
        value = getattr(container, field)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ProposalError(f"returned {field} = {value} for the container {container.name}")
    for request, limit in REQUEST_LIMIT_PAIRS:
        requested, allowed = getattr(container, request), getattr(container, limit)
        if requested is None and current is not None and getattr(current, request) is not None:
            raise ProposalError(f"returned an incomplete target: {container.name} lacks {request}")
        if requested is not None and allowed is not None and requested > allowed:
            raise ProposalError(
                f"returned {request} = {requested} above {limit} = {allowed} for {container.name}"
            )


def _check_replicas(replicas: int | None, current: int | None) -> None:
    if replicas is None and current is not None:
        raise ProposalError("returned an incomplete target: it lacks replicas")
    if replicas is not None and replicas < 0:
        raise ProposalError(f"returned {replicas} replicas")
