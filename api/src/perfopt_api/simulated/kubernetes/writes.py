"""Writes of one object: create, update and patch."""

import copy
import random
import uuid
from dataclasses import dataclass, field
from typing import Any

import yaml

from perfopt_api.simulated.kubernetes import (
    admission,
    custom,
    defaults,
    kinds,
    managed,
    patches,
    validation,
)
from perfopt_api.simulated.kubernetes.bodies import patch_kind
from perfopt_api.simulated.kubernetes.clock import Clock, stamp
from perfopt_api.simulated.kubernetes.http import Request, WriteOptions, repeated
from perfopt_api.simulated.kubernetes.kinds import Resource
from perfopt_api.simulated.kubernetes.managed import Entries, Writer
from perfopt_api.simulated.kubernetes.restriction import restricted
from perfopt_api.simulated.kubernetes.status import (
    Cause,
    Json,
    StatusError,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
)
from perfopt_api.simulated.kubernetes.storage import Store
from perfopt_api.simulated.kubernetes.typed import DecodeError, Decoder

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


@dataclass
class Writes:
    """Writes objects of any kind.

    Attributes:
        warnings: for headers of the current answer.
    """

    store: Store
    clock: Clock
    random: random.Random
    warnings: list[str] = field(default_factory=list)

    # -- decoding ----------------------------------------------------------------------------------------

    def decode(self, obj: Json, resource: Resource, options: WriteOptions) -> Json:
        """Types an object; unknown and repeated fields are dropped and reported as `fieldValidation` says.

        Raises:
            DecodeError: a value has the wrong type, or fields are unknown and validation is strict.
        """
        decoder = Decoder()
        decoded: Json = decoder.decode(obj, resource.schema)
        warnings = [f'duplicate field "{path}"' for path in repeated(obj)]
        warnings += [f'unknown field "{path}"' for path in decoder.unknown]
        if warnings and options.validation == "Strict":
            raise DecodeError("strict decoding error: " + ", ".join(warnings))
        if options.validation == "Warn":
            self.warnings += warnings
        return decoded

    # -- create ------------------------------------------------------------------------------------------

    def create(self, resource: Resource, namespace: str, body: Json, options: WriteOptions) -> Json:
        """Creates an object.

        Raises:
            StatusError: it is not valid, not allowed or there already.
        """
        self._check_kind(resource, body)
        try:
            obj = self.decode(body, resource, options)
        except DecodeError as error:
            kind = resource.kind
            message = f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {error}'
            raise bad_request(message) from error
        self._place(obj, resource, namespace)
        writer = Writer(options.manager, "Update", resource.api_version)
        self._born(obj, resource)
        given = copy.deepcopy(obj)
        self._admit(obj)
        self.validate(obj, None, resource)
        empty = skeleton(obj, resource)
        entries = managed.update(empty, given, resource.schema, {}, writer, stamp(self.clock.now()))
        return self._insert(obj, resource, entries, dry_run=options.dry_run)

    def _check_kind(self, resource: Resource, body: Json) -> None:
        kind = body.get("kind", "")
        if not kind or not body.get("apiVersion"):
            raise bad_request(
                f"Object 'Kind' is missing in '{kind}'" if not kind else "apiVersion is missing"
            )
        if kind != resource.kind:
            kind_text = f"({resource.group.partition('.')[0]}.{resource.kind})"
            raise bad_request(
                f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
                f"converting ({resource.version}.{kind}) to {kind_text}: unknown conversion"
            )

    def _place(self, obj: Json, resource: Resource, namespace: str) -> None:
        metadata = obj["metadata"]
        if resource.namespaced:
            if metadata.setdefault("namespace", namespace) != namespace:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            if self.store.get(kinds.NAMESPACE.key, "", namespace) is None:
                raise not_found("namespaces", "", namespace)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + self.suffix()
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")

    def suffix(self) -> str:
        """Five letters, as generated names end."""
        return "".join(self.random.choice(_LETTERS) for _ in range(5))

    def _born(self, obj: Json, resource: Resource) -> None:
        metadata = obj["metadata"]
        metadata["uid"] = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        metadata["creationTimestamp"] = stamp(self.clock.now())
        metadata.pop("managedFields", None)
        if resource.generation:
            metadata["generation"] = 1
        if "status" in resource.subresources and resource.kind != "Node":
            obj.pop("status", None)
            if "status" in resource.skeleton:
                obj["status"] = copy.deepcopy(resource.skeleton["status"])
        resource.fill(obj)
        if resource.kind == "Namespace":
            obj["status"] = {"phase": "Active"}
        if resource.kind == "DaemonSet":
            obj["metadata"].setdefault("annotations", {})[_TEMPLATE_GENERATION] = "1"

    def _admit(self, obj: Json) -> None:
        """What admission and generation write into a new object."""
        if obj["kind"] == "Pod":
            admission.fill_limits(self.store, obj)
        if obj["kind"] == "Job":
            defaults.generated_job(obj)

    def _insert(self, obj: Json, resource: Resource, entries: Entries, *, dry_run: bool) -> Json:
        managed.write(obj, entries)
        metadata = obj["metadata"]
        if self.store.get(resource.key, metadata.get("namespace", ""), metadata["name"]) is not None:
            raise already_exists(resource.plural, resource.group, metadata["name"])
        if resource.kind == "Pod":
            defaults.admitted_pod(obj)
            obj["status"] = {"phase": "Pending", "qosClass": admission.qos_class(obj["spec"])}
            admission.check_limits(self.store, obj)
            admission.check_quota(self.store, obj)
        return obj if dry_run else self.store.put(resource.key, obj)

    def validate(self, obj: Json, old: Json | None, resource: Resource) -> None:
        """Holds an object to its kind's rules.

        Raises:
            StatusError: 422.
        """
        if resource.custom is not None:
            causes = custom.validate(obj, resource)
        else:
            causes = validation.check(obj, old)
            self.warnings += validation.warnings(obj)
        if causes:
            raise invalid(resource.kind, resource.group, obj["metadata"].get("name", ""), causes)

    # -- update and patch --------------------------------------------------------------------------------

    def live(self, resource: Resource, namespace: str, name: str) -> Json:
        """The stored object.

        Raises:
            StatusError: 404.
        """
        obj = self.store.get(resource.key, namespace, name)
        if obj is None:
            raise not_found(resource.plural, resource.group, name)
        return obj

    def replace(
        self, resource: Resource, old: Json, body: Json, options: WriteOptions, subresource: str = ""
    ) -> Json:
        """PUT.

        Raises:
            StatusError: as for create; 409 for a version that is not the current one.
        """
        self._check_kind(resource, body)
        metadata, name = body.get("metadata", {}), old["metadata"]["name"]
        if metadata.get("name") != name:
            raise other_name(metadata.get("name", ""), name)
        try:
            new = self.decode(body, resource, options)
        except DecodeError as error:
            kind = resource.kind
            message = f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {error}'
            raise bad_request(message) from error
        version = metadata.get("resourceVersion")
        if not version and not resource.unversioned_update:
            text = "Invalid value: 0: must be specified for an update"
            cause = Cause("Invalid", "metadata.resourceVersion", text)
            raise invalid(resource.plural, resource.group, name, [cause])
        self.check_version(resource, old, version)
        if metadata.get("uid") not in (None, old["metadata"]["uid"]):
            raise conflict(resource.plural, resource.group, name, _wrong_uid(resource, old, metadata["uid"]))
        writer = Writer(options.manager, "Update", resource.api_version, subresource)
        return self.update(resource, old, new, writer, subresource, dry_run=options.dry_run)

    def check_version(self, resource: Resource, old: Json, version: str | None) -> None:
        """Holds a write to the version it was made for.

        Raises:
            StatusError: 409.
        """
        if version and version != old["metadata"]["resourceVersion"]:
            raise conflict(resource.plural, resource.group, old["metadata"]["name"])

    def patch(
        self, resource: Resource, old: Json, request: Request, options: WriteOptions, subresource: str = ""
    ) -> Json:
        """PATCH of an object that is there, by JSON, merge or strategic merge patch.

        Raises:
            StatusError: the patch does not fit, or its result is not valid.
        """
        new = self.patched(resource, old, request, options)
        self.check_version(resource, old, new["metadata"].get("resourceVersion"))
        writer = Writer(options.manager, "Update", resource.api_version, subresource)
        return self.update(resource, old, new, writer, subresource, dry_run=options.dry_run)

    def patched(self, resource: Resource, old: Json, request: Request, options: WriteOptions) -> Json:
        """The object after a patch, typed.

        Raises:
            StatusError: 400, 415 or 422.
        """
        kind = patch_kind(request, resource)
        try:
            patch: Any = yaml.safe_load(request.body)
        except yaml.YAMLError as error:
            raise bad_request(f"error decoding patch: {error}") from error
        match kind:
            case "json":
                result = patches.json_patch(old, patch)
            case "merge":
                result = patches.merge_patch(old, patch)
            case _:
                result = patches.strategic_merge(old, patch, resource.schema)
        shown = patches.go_print(patch) if kind == "strategic" else validation.show(result)
        try:
            return self.decode(result, resource, options)
        except DecodeError as error:
            text = f"Invalid value: {validation.show(shown)}: {error}"
            raise invalid("", "", "", [Cause("Invalid", "patch", text)]) from error

    def update(
        self,
        resource: Resource,
        old: Json,
        new: Json,
        writer: Writer,
        subresource: str = "",
        *,
        dry_run: bool = False,
    ) -> Json:
        """Stores a changed object, or leaves the stored one where nothing changed.

        Raises:
            StatusError: the result is not valid or not allowed.
        """
        if subresource == "resize":
            self._check_containers(old, new)
        cleared = new["metadata"].get("managedFields") == [{}]
        entries, given = managed.read(old), new
        new = restricted(resource, old, new, subresource)
        resource.fill(new)
        if subresource != "status":
            self.count_generation(resource, old, new)
            self._check_update(resource, old, new, subresource)
        if not cleared and (entries or resource.custom is not None):
            now = stamp(self.clock.now())
            written = new
            if subresource == "resize":  # what a resize drops is owned all the same
                written = given | {"status": old["status"]}
            entries = managed.update(old, written, resource.schema, entries, writer, now)
        managed.write(new, {} if cleared else entries)
        return self.store_update(resource, old, new, dry_run=dry_run)

    def store_update(self, resource: Resource, old: Json, new: Json, *, dry_run: bool) -> Json:
        """Stores what was found valid; a change of nothing is none."""
        metadata = new["metadata"]
        if new == old:
            return old
        if resource.kind == "DaemonSet" and old["spec"].get("template") != new["spec"].get("template"):
            _count_template(new)
        if dry_run:
            return new
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers") and resource.kind != "Pod":
            self.store.remove(resource.key, metadata.get("namespace", ""), metadata["name"])
            return new
        return self.store.put(resource.key, new)

    def _check_containers(self, old: Json, new: Json) -> None:
        """A resize brings whole containers, though only their resources are taken from it."""
        causes = list(validation.pod_spec(new.get("spec", {}), "spec"))
        if causes:
            causes += admission.shape_causes(new, old)
            raise invalid("Pod", "", old["metadata"]["name"], causes)

    def _check_update(self, resource: Resource, old: Json, new: Json, subresource: str) -> None:
        if new == old:
            return
        if resource.kind != "Pod":
            self.validate(new, old, resource)
            return
        causes = list(validation.pod_spec(new["spec"], "spec"))
        if subresource == "resize":
            causes += (
                admission.resize(self.store, new, old) if not causes else admission.shape_causes(new, old)
            )
        elif new["spec"] != old["spec"]:
            causes += admission.pod_update_causes(new, old)
        if causes:
            raise invalid("Pod", "", old["metadata"]["name"], causes)
        if subresource == "resize":
            admission.check_limits(self.store, new)
            admission.check_quota(self.store, new, old)

    def count_generation(self, resource: Resource, old: Json, new: Json) -> None:
        """Raises the generation where what counts has changed."""
        if not resource.generation:
            return
        ignored = ("metadata", "status", "apiVersion", "kind")
        before, after = ({k: v for k, v in obj.items() if k not in ignored} for obj in (old, new))
        moved = before != after
        if resource.generation == "spec+annotations":
            moved = moved or old["metadata"].get("annotations") != new["metadata"].get("annotations")
        if moved:
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _count_template(daemon_set: Json) -> None:
    """Raises the number of a DaemonSet's template; the mark belongs to who had it."""
    annotations = daemon_set["metadata"].get("annotations", {})
    raised = {_TEMPLATE_GENERATION: str(int(annotations.get(_TEMPLATE_GENERATION, "1")) + 1)}
    daemon_set["metadata"] = daemon_set["metadata"] | {"annotations": annotations | raised}


def other_name(given: str, name: str) -> StatusError:
    """The error for a body of another name than the address."""
    return bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")


def _wrong_uid(resource: Resource, old: Json, uid: str) -> str:
    metadata = old["metadata"]
    place = f"{metadata['namespace']}/" if "namespace" in metadata else ""
    return (
        f"StorageError: invalid object, Code: 4, Key: /registry/{resource.plural}/{place}{metadata['name']}, "
        f"ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, "
        f"UID in object meta: {metadata['uid']}"
    )


def skeleton(obj: Json, resource: Resource) -> Json:
    """What Go prints of an object before its fields are set."""
    return {"apiVersion": obj.get("apiVersion"), "kind": obj.get("kind"), "metadata": {}} | resource.skeleton
