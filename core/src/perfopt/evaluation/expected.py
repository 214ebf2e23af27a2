"""The replica-hours that a proposal saves: its autoscaler, stepped through the latest history. Pure."""

from dataclasses import replace
from datetime import timedelta

import msgspec

from perfopt.evaluation.scaling import planned_replicas, recorded_replicas
from perfopt.metrics.snapshot import TimeGrid, WorkloadSnapshot
from perfopt.plugin.history import unseen_triggers
from perfopt.plugin.strategy import Proposal

MIN_SAVING_PERCENT = 5.0
_WEEK, _DAY = timedelta(days=7), timedelta(days=1)


def with_simulated_saving(proposal: Proposal, snapshot: WorkloadSnapshot, validity: timedelta) -> Proposal:
    """Returns a proposal that moves replicas with the saving that the simulated autoscaler realises.

    What is claimed to be saved is no more than that, and nothing where it is under 5 %, nor where other
    metrics than those that are simulated may hold the replicas.

    Args:
        proposal: of any type; one that leaves replicas alone is returned as it is.
        snapshot: the history up to now.
        validity: that the proposal is made for.
    """
    state, target = snapshot.workload.state, proposal.target
    if not state.replicas or target.hpa is None or _same(proposal, snapshot):
        return proposal
    window = stand_in(snapshot, validity)
    ran = recorded_replicas(window) if window is not None else None
    planned = planned_replicas(target, window) if window is not None else None
    if ran is None or planned is None or not ran.size:
        return proposal
    saving = 100 * (1 - float(planned.sum() / ran.sum()))
    if unseen_triggers(snapshot.workload):
        saving = min(saving, 0.0)
    claim = proposal.claim
    claimed = None if claim.saving_percent is None else round(min(claim.saving_percent, saving), 1)
    if claimed is not None and claimed < MIN_SAVING_PERCENT:
        claimed = None
    claim = msgspec.structs.replace(claim, saving_percent=claimed, simulated_saving_percent=round(saving, 2))
    return msgspec.structs.replace(proposal, claim=claim)


def _same(proposal: Proposal, snapshot: WorkloadSnapshot) -> bool:
    state, target = snapshot.workload.state, proposal.target
    request = [one.total("cpu_request_cores") for one in (state, target)]
    return (state.hpa, request[0], state.extra.get("schedule")) == (
        target.hpa,
        request[1],
        target.extra.get("schedule"),
    )


def stand_in(snapshot: WorkloadSnapshot, validity: timedelta) -> WorkloadSnapshot | None:
    """Returns the latest history as if it were the validity: the same weekdays, or without weeks the days.

    None for less than a day.
    """
    grid = snapshot.grid
    length = grid.size * grid.step
    unit = _WEEK if length >= _WEEK else _DAY
    shift = min(-(-validity // unit), length // unit) * unit
    if not shift:
        return None
    begin = grid.size - shift // grid.step
    window = snapshot.slice(begin, min(begin + validity // grid.step, grid.size))
    return replace(window, grid=TimeGrid(window.grid.start + shift, grid.step, window.grid.size))
