"""Controller revisions: the templates that a StatefulSet or DaemonSet has had."""

import copy

from perfopt_api.simulated.kubernetes.controllers.base import Hub, owner_reference, template_hash
from perfopt_api.simulated.kubernetes.kinds import CONTROLLER_REVISION
from perfopt_api.simulated.kubernetes.status import Json

LABEL = "controller-revision-hash"
_HASH = "controller.kubernetes.io/hash"
_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


def current(hub: Hub, owner: Json) -> Json:
    """The revision of the present template; made where there is none."""
    template = copy.deepcopy(owner["spec"]["template"])
    data = {"spec": {"template": {"$patch": "replace", **template}}}
    known = hub.owned(owner, CONTROLLER_REVISION)
    last = max((each["revision"] for each in known), default=0)
    for revision in known:
        if revision["data"] == data:
            if revision["revision"] < last:
                hub.write(CONTROLLER_REVISION, revision | {"revision": last + 1})
            return revision
    suffix, metadata = template_hash(template), owner["metadata"]
    label = LABEL if owner["kind"] == "DaemonSet" else _HASH
    annotation = metadata.get("annotations", {}).get(_TEMPLATE_GENERATION)
    return hub.create(
        CONTROLLER_REVISION,
        {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": f"{metadata['name']}-{suffix}",
                "namespace": metadata["namespace"],
                "labels": template["metadata"].get("labels", {}) | {label: suffix},
                "ownerReferences": [owner_reference(owner)],
                **({"annotations": {_TEMPLATE_GENERATION: annotation}} if annotation else {}),
            },
            "data": data,
            "revision": last + 1,
        },
    )


def template_of(hub: Hub, owner: Json, name: str) -> Json | None:
    """The template of a revision by name."""
    revision = hub.store.get(CONTROLLER_REVISION.key, owner["metadata"]["namespace"], name)
    if revision is None:
        return None
    return {key: part for key, part in revision["data"]["spec"]["template"].items() if key != "$patch"}
