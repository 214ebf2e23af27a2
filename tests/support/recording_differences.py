"""Why some recorded exchanges differ from the simulated API server, by flow and step.

A difference that is not named here is a fault of the simulation.
"""

_MOMENT = "a controller's status was written at another moment"
_PODS_END = "pods of the recording ended together, after a grace period that its kubelet did not keep"
_KUBELET = "the recording's pretend kubelet said so; the simulated one uses a real kubelet's words and units"

_DEFINITION = (
    "the server's status of a definition is written at another moment, with whole sets of its fields"
)

EXPLAINED: dict[tuple[str, str], str] = {
    ("2-server-side-apply", "clear-managed-fields"): _MOMENT,
    ("3-hpa", "scaled-up-3"): _MOMENT,
    ("3-hpa", "scaled-up-6"): _MOMENT,
    ("3-scale", "deployment-at-zero-2"): _PODS_END,
    ("3-scale", "deployment-at-zero-3"): _PODS_END,
    ("3-scale", "deployment-at-zero-4"): _PODS_END,
    ("4-rollout-stuck", "progress-3"): _MOMENT,
    ("4-rollout", "pods"): "no service account token is mounted into simulated pods",
    ("4-rollout", "first-4"): _MOMENT,
    ("4-rollout", "progress-7"): _MOMENT,
    ("4-rollout", "resumed-2"): _MOMENT,
    ("5-resize-pending", "growing-2"): _KUBELET,
    ("5-resize-pending", "granted-1"): _KUBELET,
    ("5-resize-refused", "node"): "addresses, features and images of the recording's node",
    (
        "5-resize-refused",
        "qos-best-effort-to-burstable",
    ): "the recording's kubelet gave that pod no resources, so the server answered for a node without resize",
    ("5-resize-refused", "finished-pod"): "the pod of a Job without the Job's finalizer",
    ("6-watch", "watch-deployments"): _MOMENT,
    ("7-eviction", "budget-after"): _MOMENT,
    ("7-quota-limits", "events"): "one of the attempts that a quota refused came at another moment",
    ("7-quota-limits", "quota-used-1"): _MOMENT,
    ("8-batch", "pods"): "a pod that had succeeded was removed at another moment",
    ("8-custom-scale", "apply-force-dry-run"): "one empty set in fieldsV1 of a template without a schema",
    ("8-custom-scale", "delete-crd"): _DEFINITION,
    ("8-custom-scale", "crd-1"): _DEFINITION,
    ("8-custom-scale", "crd-2"): _DEFINITION,
}
