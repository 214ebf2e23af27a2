"""From a recommendation to the change of its workload, in steps of the size that policy allows. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from perfopt.domain.job import OptimizationJob
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.errors import ConflictError
from perfopt_api.apply.cluster import (
    QUANTITIES,
    AutoscalerChange,
    ContainerSize,
    Durability,
    WorkloadChange,
    WorkloadTarget,
)
from perfopt_api.apply.injected import injected, injected_note
from perfopt_api.apply.preview import replicas_change
from perfopt_api.apply.request import ApplyRecommendationRequest
from perfopt_api.apply.state import ApplyOrder, ApplyState
from perfopt_api.apply.target import object_of
from perfopt_api.apply.verification.settings import VerificationSettings, parse_verify_for
from perfopt_api.policy.facts import ProposedChange
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.policy.sizes import stepped
from perfopt_api.store.apply_port import NewApply

_EXPORT = "Use mode export for manifests to apply yourself."
_TARGETS = {"cpu": "target_cpu_utilization_percent", "memory": "target_memory_utilization_percent"}


def order_of(
    recommendation: OptimizationRecommendation,
    wish: ApplyRecommendationRequest,
    settings: PolicySettings,
    *,
    automatic: bool = False,
    verification: VerificationSettings | None = None,
) -> ApplyOrder:
    """Returns what is to be done to apply a recommendation.

    Args:
        recommendation: the recommendation.
        wish: mode, force and how long to watch; of `direct` or `canary`.
        settings: the policy, for the largest step.
        automatic: nobody asked for it but the policy.
        verification: which verify_for is possible; the default without.

    Raises:
        ConflictError: it changes nothing, or something that only a person can change.
        InvalidInputError: verify_for is malformed, too short or too long.
    """
    target = workload_target(recommendation)
    before, after = _fields(recommendation.current_state), _fields(recommendation.recommended_state)
    changed = {path: value for path, value in after.items() if before.get(path) != value}
    changed |= {path: None for path in before if path not in after and path.startswith("containers.")}
    replicas = replicas_change(recommendation) if target.scalable else None
    if replicas is None:
        changed.pop("replicas", None)
    durability: Durability = "template" if wish.durability == "template" else "transient"
    added = _injected(recommendation, changed) if durability == "template" else ()
    changed = {path: value for path, value in changed.items() if _container(path) not in added}
    notes = (injected_note(added),) if added else ()
    _refuse_by_hand(recommendation, changed, notes)
    steps = stepped(before, changed, settings)
    known = verification or VerificationSettings()
    watched = None if wish.verify_for is None else parse_verify_for(wish.verify_for, known)
    return ApplyOrder(
        stages=tuple(change_of_fields(target, values, durability) for values in steps),
        expected={path: before.get(path) for path in changed if path in before},
        recommendation_ids=(recommendation.recommendation_id,),
        types=(recommendation.optimization_type,),
        mode="direct" if wish.mode == "direct" else "canary",
        force=wish.force,
        verify_seconds=None if watched is None else watched.total_seconds(),
        automatic=automatic,
        confidence=recommendation.expected_improvement.confidence,
        service_class=recommendation.service_class,
        strategy=recommendation.plugin,
        strategy_version=recommendation.plugin_version or "",
        valid_until=recommendation.valid_until,
        allowed_windows=recommendation.allowed_windows,
        requires_approval=recommendation.requires_approval,
        approval_rules=tuple(
            f"{rule.pack}/{rule.rule}" for rule in recommendation.rules if rule.action == "require_approval"
        ),
        heap_containers=recommendation.heap_containers,
        notes=notes,
    )


def _injected(recommendation: OptimizationRecommendation, changed: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the containers of a change that no template has."""
    added = injected(recommendation.recommended_state.get("containers", {}))
    return tuple(name for name in added if any(_container(path) == name for path in changed))


def _container(path: str) -> str | None:
    kind, _, rest = path.partition(".")
    return rest.partition(".")[0] if kind in ("containers", "env") else None


def as_one(job: OptimizationJob) -> OptimizationRecommendation:
    """Returns the plan of an analysis as one recommendation, of which the steps are parts.

    Raises:
        ConflictError: the analysis has no plan.
    """
    if job.plan is None:
        raise ConflictError(f"The job {job.job_id} has no plan.", remedy="Apply one of its recommendations.")
    plan, steps = job.plan, steps_of(job)
    return msgspec.structs.replace(
        steps[0],
        description=plan.description,
        current_state=plan.current_state,
        recommended_state=plan.recommended_state,
        expected_improvement=plan.expected_improvement,
        valid_until=min(recommendation.valid_until for recommendation in steps),
        requires_approval=plan.requires_approval,
        allowed_windows=plan.allowed_windows,
        rules=plan.rules,
    )


def steps_of(job: OptimizationJob) -> tuple[OptimizationRecommendation, ...]:
    """Returns the recommendations that a job's plan is made of, in the order to apply them in."""
    by_id = {recommendation.recommendation_id: recommendation for recommendation in job.recommendations}
    return () if job.plan is None else tuple(by_id[step.recommendation_id] for step in job.plan.steps)


def new_apply(
    order: ApplyOrder,
    recommendation: OptimizationRecommendation,
    parent_job_id: str,
    *,
    requester: str | None,
    reason: str | None,
) -> NewApply:
    """Returns the job that carries out an order."""
    target = order.whole.target
    state = ApplyState()
    return NewApply(
        parent_job_id=parent_job_id,
        service_name=recommendation.service_name,
        optimization_types=order.types,
        recommendation_ids=order.recommendation_ids,
        order=msgspec.to_builtins(order),
        state=msgspec.to_builtins(state),
        step=state.step,
        workload=target.key,
        namespace=target.namespace,
        cluster=target.cluster,
        strategy=order.strategy,
        strategy_version=order.strategy_version,
        durability=order.whole.durability if order.git is None else "git",
        automatic=order.automatic,
        requester=requester,
        reason=reason,
    )


def proposed_change(order: ApplyOrder, *, before: Mapping[str, Any], **known: Any) -> ProposedChange:
    """Returns an order as policy sees it.

    Args:
        order: what is to be done.
        before: by path, what is there now.
        known: further fields of ProposedChange.
    """
    target, after = order.whole.target, order.whole.fields()
    return ProposedChange(
        workload=target.key,
        namespace=target.namespace,
        cluster=target.cluster,
        types=order.types,
        before={path: before.get(path) for path in after},
        after=after,
        confidence=order.confidence,
        service_class=order.service_class,
        strategy=order.strategy,
        strategy_version=order.strategy_version,
        automatic=order.automatic,
        force=order.force,
        requires_approval=order.requires_approval,
        approval_rules=order.approval_rules,
        allowed_windows=order.allowed_windows,
        **known,
    )


def workload_target(recommendation: OptimizationRecommendation) -> WorkloadTarget:
    """Returns the workload that a recommendation is for, as Kubernetes addresses it.

    Raises:
        ConflictError: its kind cannot be changed, or its namespace is not known.
    """
    target = object_of(recommendation)
    if not target.namespace:
        raise ConflictError(f"The namespace of {recommendation.workload} is not known.", remedy=_EXPORT)
    scope = recommendation.workload.split("/")[:-1]
    place = scope.index(target.namespace)
    return WorkloadTarget(
        api_version=target.api_version,
        kind=target.kind,
        namespace=target.namespace,
        name=target.name,
        cluster="/".join(scope[:place]),
    )


def _refuse_by_hand(
    recommendation: OptimizationRecommendation, changed: Mapping[str, Any], notes: tuple[str, ...]
) -> None:
    now = recommendation.current_state.get("knob_settings", {})
    for container, how in recommendation.recommended_state.get("knob_settings", {}).items():
        parts = [part for part in ("command", "args", "by_hand") if how.get(part)]
        if parts and how != now.get(container):
            raise ConflictError(
                f"{recommendation.recommendation_id} changes {' and '.join(parts)} of {container},"
                " by hand only.",
                remedy=_EXPORT,
            )
    if not changed:
        raise ConflictError(
            f"{recommendation.recommendation_id} changes nothing that can be applied.",
            remedy=" ".join(notes) or "See the recommended_state for what it does change.",
        )


def _fields(state: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a state map by the paths of the port to a cluster."""
    fields: dict[str, Any] = {
        f"containers.{container}.{name}": quantities[name]
        for container, quantities in state.get("containers", {}).items()
        for name in QUANTITIES
        if quantities.get(name) is not None
    }
    for container, how in state.get("knob_settings", {}).items():
        fields |= {f"env.{container}.{name}": str(text) for name, text in (how.get("env") or {}).items()}
    if state.get("replicas") is not None:
        fields["replicas"] = state["replicas"]
    scaler = state.get("hpa") or {}
    for name in ("min_replicas", "max_replicas", "behavior"):
        if scaler.get(name) is not None:
            fields[f"hpa.{name}"] = scaler[name]
    if not scaler.get("other_metrics"):  # the list is replaced whole, and theirs is not known
        metrics = [_utilization(kind, scaler[name]) for kind, name in _TARGETS.items() if scaler.get(name)]
        if metrics:
            fields["hpa.metrics"] = metrics
    if state.get("keda") and state.get("keda_scaled_object"):
        fields["keda"] = state["keda_scaled_object"]["spec"]
    return fields


def _utilization(resource: str, percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": resource, "target": target}}


def change_of_fields(
    target: WorkloadTarget, fields: Mapping[str, Any], durability: Durability = "template"
) -> WorkloadChange:
    """Returns the change that sets these paths; the inverse of WorkloadChange.fields."""
    sizes: dict[str, dict[str, str]] = {}
    env: dict[str, dict[str, str]] = {}
    for path, value in fields.items():
        kind, _, rest = path.partition(".")
        name, _, key = rest.partition(".")
        if kind == "containers" and value is not None:
            sizes.setdefault(name, {})[key] = value
        elif kind == "env":
            env.setdefault(name, {})[key] = value
    scaler = {path.removeprefix("hpa."): value for path, value in fields.items() if path.startswith("hpa.")}
    if "metrics" in scaler:
        scaler["metrics"] = tuple(scaler["metrics"])
    return WorkloadChange(
        target=target,
        containers={name: ContainerSize(**quantities) for name, quantities in sizes.items()},
        removed=tuple(
            path for path, value in fields.items() if path.startswith("containers.") and value is None
        ),
        env=env,
        replicas=fields.get("replicas"),
        autoscaler=AutoscalerChange(**scaler) if scaler else None,
        keda=fields.get("keda"),
        durability=durability,
    )
