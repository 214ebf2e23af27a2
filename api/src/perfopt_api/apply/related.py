"""What stands around a workload: its rollout, its disruption budgets, and what else changes it."""

from datetime import datetime
from typing import Literal

import msgspec


class RolloutStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where the rollout of the template stands.

    Attributes:
        state: complete (every pod is of the newest template, ready, and the controller has seen the newest
            generation), progressing, deadline_exceeded (ProgressDeadlineExceeded), failing (ReplicaFailure:
            quota or LimitRange refuse the pods), paused.
        message: of the condition.
        revision: of the newest template, as in PodView.revision.
        desired, updated, ready, available: numbers of pods.
        began_at: when the newest revision was made; None where unknown.
    """

    state: Literal["complete", "progressing", "deadline_exceeded", "failing", "paused"] = "complete"
    message: str = ""
    revision: str = ""
    desired: int = 0
    updated: int = 0
    ready: int = 0
    available: int = 0
    began_at: datetime | None = None


class DisruptionBudget(msgspec.Struct, frozen=True, kw_only=True):
    """A PodDisruptionBudget that selects the workload's pods, and how many it allows to go now."""

    name: str
    disruptions_allowed: int


class WorkloadOwners(msgspec.Struct, frozen=True, kw_only=True):
    """What else changes a workload; None or empty is nothing.

    Attributes:
        hpa: name of the HorizontalPodAutoscaler that scales it.
        keda: name of the ScaledObject.
        vpa: name of the VerticalPodAutoscaler; vpa_mode its updateMode (`Off` only recommends).
        argo_cd: the Argo CD application that tracks it.
        flux: the Flux Kustomization or HelmRelease, `Kind/namespace/name`.
        managers: every field manager of the object.
    """

    hpa: str | None = None
    keda: str | None = None
    vpa: str | None = None
    vpa_mode: str = "Off"
    argo_cd: str | None = None
    flux: str | None = None
    managers: tuple[str, ...] = ()
