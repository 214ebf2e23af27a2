"""PodDisruptionBudgets and ResourceQuotas: what they allow and what is used."""

import math
from collections.abc import Iterable

from perfopt_api.simulated.kubernetes import admission
from perfopt_api.simulated.kubernetes.controllers.base import Hub, Key, condition, is_active, is_ready
from perfopt_api.simulated.kubernetes.controllers.deployment import share
from perfopt_api.simulated.kubernetes.kinds import DISRUPTION_BUDGET, POD, RESOURCE_QUOTA
from perfopt_api.simulated.kubernetes.selectors import matches
from perfopt_api.simulated.kubernetes.status import Json
from perfopt_api.simulated.kubernetes.storage import Change


class BudgetController:
    """Counts the pods of one PodDisruptionBudget."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def keys(self, change: Change) -> Iterable[Key]:
        """Budgets, and those that select a pod."""
        if change.kind == DISRUPTION_BUDGET.key:
            return [change.name]
        if change.kind != POD.key:
            return []
        pod = change.after or change.before or {}
        return [
            (budget["metadata"]["namespace"], budget["metadata"]["name"])
            for budget in self._hub.store.all(DISRUPTION_BUDGET.key, change.name[0])
            if matches(budget["spec"].get("selector"), pod["metadata"].get("labels", {}))
        ]

    def reconcile(self, namespace: str, name: str) -> float | None:
        """One round."""
        budget = self._hub.store.get(DISRUPTION_BUDGET.key, namespace, name)
        if budget is None:
            return None
        selector = budget["spec"].get("selector")
        pods = [
            pod
            for pod in self._hub.store.all(POD.key, namespace)
            if matches(selector, pod["metadata"].get("labels", {})) and is_active(pod)
        ]
        names = {pod["metadata"]["name"] for pod in pods}
        known = budget.get("status", {}).get("disruptedPods", {})
        disrupted = {pod: at for pod, at in known.items() if pod in names}
        healthy = sum(is_ready(pod) and pod["metadata"]["name"] not in disrupted for pod in pods)
        desired = _desired(budget["spec"], len(pods))
        self._report(budget, disrupted, healthy, desired, len(pods))
        return None

    def _report(self, budget: Json, disrupted: Json, healthy: int, desired: int, expected: int) -> None:
        allowed = max(0, healthy - desired) if expected else 0
        generation = budget["metadata"]["generation"]
        text, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
        known = condition(budget, "DisruptionAllowed")
        same = known is not None and known["status"] == text
        turned = known["lastTransitionTime"] if known is not None and same else self._hub.stamp()
        status: Json = {
            "observedGeneration": generation,
            **({"disruptedPods": disrupted} if disrupted else {}),
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "conditions": [
                {
                    "type": "DisruptionAllowed",
                    "status": text,
                    "observedGeneration": generation,
                    "lastTransitionTime": turned,
                    "reason": reason,
                    "message": "",
                }
            ],
        }
        self._hub.status(DISRUPTION_BUDGET, budget, status)


def _desired(spec: Json, expected: int) -> int:
    if "minAvailable" in spec:
        return share(spec["minAvailable"], expected, up=True)
    return max(0, expected - math.ceil(share(spec.get("maxUnavailable", 0), expected, up=True)))


class QuotaController:
    """Counts what the pods of a namespace use of one ResourceQuota."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def keys(self, change: Change) -> Iterable[Key]:
        """Quotas, and those of a pod's namespace."""
        if change.kind == RESOURCE_QUOTA.key:
            return [change.name]
        if change.kind != POD.key:
            return []
        quotas = self._hub.store.all(RESOURCE_QUOTA.key, change.name[0])
        return [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in quotas]

    def reconcile(self, namespace: str, name: str) -> float | None:
        """One round."""
        quota = self._hub.store.get(RESOURCE_QUOTA.key, namespace, name)
        if quota is None:
            return None
        hard = quota["spec"].get("hard", {})
        used = admission.used(self._hub.store, namespace)
        shown = {key: admission.show_amount(key, used[key]) if key in used else "0" for key in hard}
        self._hub.status(RESOURCE_QUOTA, quota, {"hard": hard, "used": shown})
        return None
