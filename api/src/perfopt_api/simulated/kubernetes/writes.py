"""Writes of one object: create, update, patch, apply and delete."""

import copy
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from perfopt_api.simulated.kubernetes import (
    admission,
    custom,
    defaults,
    fields,
    kinds,
    managed,
    patches,
    validation,
)
from perfopt_api.simulated.kubernetes.clock import Clock, stamp
from perfopt_api.simulated.kubernetes.fields import DuplicateKeyError
from perfopt_api.simulated.kubernetes.http import Request, WriteOptions, repeated
from perfopt_api.simulated.kubernetes.kinds import Resource
from perfopt_api.simulated.kubernetes.managed import Entries, Writer
from perfopt_api.simulated.kubernetes.schema import ListOf, Struct
from perfopt_api.simulated.kubernetes.status import (
    Cause,
    Json,
    StatusError,
    already_exists,
    bad_request,
    conflict,
    internal,
    invalid,
    not_found,
    success,
    unsupported_media_type,
)
from perfopt_api.simulated.kubernetes.storage import Store
from perfopt_api.simulated.kubernetes.typed import DecodeError, Decoder

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_PATCHES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
_CUSTOM_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
)
_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_KEPT_METADATA = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "resourceVersion",
    "generateName",
)


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
        told = [f'duplicate field "{path}"' for path in repeated(obj)]
        told += [f'unknown field "{path}"' for path in decoder.unknown]
        if told and options.validation == "Strict":
            raise DecodeError("strict decoding error: " + ", ".join(told))
        if options.validation == "Warn":
            self.warnings += told
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
        skeleton = _skeleton(obj, resource)
        entries = managed.update(skeleton, given, resource.schema, {}, writer, stamp(self.clock.now()))
        return self._insert(obj, resource, entries, dry_run=options.dry_run)

    def _check_kind(self, resource: Resource, body: Json) -> None:
        kind = body.get("kind", "")
        if not kind or not body.get("apiVersion"):
            raise bad_request(
                f"Object 'Kind' is missing in '{kind}'" if not kind else "apiVersion is missing"
            )
        if kind != resource.kind:
            wanted = f"({resource.group.partition('.')[0]}.{resource.kind})"
            raise bad_request(
                f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
                f"converting ({resource.version}.{kind}) to {wanted}: unknown conversion"
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
        found = self.store.get(resource.key, namespace, name)
        if found is None:
            raise not_found(resource.plural, resource.group, name)
        return found

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
            raise _other_name(metadata.get("name", ""), name)
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
        new = _restricted(resource, old, new, subresource)
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

    # -- apply -------------------------------------------------------------------------------------------

    def apply(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        request: Request,
        options: WriteOptions,
        subresource: str = "",
    ) -> tuple[Json, bool]:
        """Server-side apply.

        Returns:
            The object, and whether it was created.

        Raises:
            StatusError: 409 for fields of other managers, and what an update raises.
        """
        config = read_config(request, resource.api_version, resource.kind)
        metadata = config.get("metadata", {})
        if "managedFields" in metadata:
            raise bad_request("metadata.managedFields must be nil")
        if metadata.get("name", name) != name:
            raise _other_name(metadata["name"], name)
        old = self.store.get(resource.key, namespace, name)
        if old is not None:
            self.check_version(resource, old, metadata.get("resourceVersion"))
        label = f"({metadata.get('namespace', '')}/{name}; {resource.api_version}, Kind={resource.kind})"
        typed = self._config(config, resource, label)
        writer = Writer(options.manager, "Apply", resource.api_version, subresource)
        if old is None:
            return self._create_applied(resource, namespace, name, typed, writer, options), True
        return self._apply_to(resource, old, typed, writer, options, subresource, label), False

    def _config(self, config: Json, resource: Resource, label: str) -> Json:
        decoder = Decoder()
        try:
            typed: Json = decoder.decode(config, _unforced(resource))
        except DecodeError as error:
            kind = f"{resource.api_version}, Kind={resource.kind}"
            message = f"failed to convert new object {label} to proper version: "
            message += f"unable to convert unstructured object to {kind}: {error}"
            raise internal(message) from error
        if decoder.unknown:
            where = _keyed(decoder.unknown[0], config)
            raise internal(
                f"failed to create typed patch object {label}: {where}: field not declared in schema"
            )
        if "status" in resource.subresources and "status" in typed and resource.custom is None:
            del typed["status"]
        return typed

    def _create_applied(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        config: Json,
        writer: Writer,
        options: WriteOptions,
    ) -> Json:
        obj = copy.deepcopy(config)
        obj.setdefault("metadata", {})["name"] = name
        decoded: Json = Decoder().decode(obj, resource.schema)
        self._place(decoded, resource, namespace)
        paths = fields.applied(config, resource.schema)
        entries = {writer: managed.Entry(writer, paths, stamp(self.clock.now()))}
        self._born(decoded, resource)
        self._admit(decoded)
        self.validate(decoded, None, resource)
        return self._insert(decoded, resource, entries, dry_run=options.dry_run)

    def _apply_to(
        self,
        resource: Resource,
        old: Json,
        config: Json,
        writer: Writer,
        options: WriteOptions,
        subresource: str,
        label: str,
    ) -> Json:
        now = stamp(self.clock.now())
        entries = managed.read(old)
        if not entries:
            entries = managed.before_first_apply(
                old, resource.schema, resource.api_version, _skeleton(old, resource), now
            )
        try:
            merged, after = managed.apply(
                old, config, resource.schema, entries, writer, now, force=options.force
            )
        except DuplicateKeyError as error:
            path = duplicate_path(config, resource)
            raise internal(f"failed to create typed patch object {label}: {path}: {error}") from error
        new = _restricted(resource, old, Decoder().decode(merged, resource.schema), subresource)
        resource.fill(new)
        self.count_generation(resource, old, new)
        self._check_update(resource, old, new, subresource)
        managed.write(new, after)
        return self.store_update(resource, old, new, dry_run=options.dry_run)

    # -- delete ------------------------------------------------------------------------------------------

    def delete(self, resource: Resource, old: Json, choices: Json, *, dry_run: bool) -> Json:
        """DELETE; answers with a Status where the object is gone, else with the object.

        Raises:
            StatusError: 409 for preconditions that do not hold, 422 for a policy that there is not.
        """
        _check_delete(resource, old, choices)
        metadata = old["metadata"]
        policy = choices.get("propagationPolicy", "Background")
        waiting = list(metadata.get("finalizers", ()))
        if policy == "Foreground":
            waiting.append("foregroundDeletion")
        elif policy == "Orphan":
            waiting.append("orphan")
        elif resource.kind == "CustomResourceDefinition":
            waiting.append("customresourcecleanup.apiextensions.k8s.io")
        grace = _grace(resource, old, choices)
        if dry_run:
            return old if waiting or grace is not None else _deleted(resource, metadata)
        if waiting or grace is not None:
            return self._mark_deleted(resource, old, waiting, grace or 0)
        self.store.remove(resource.key, metadata.get("namespace", ""), metadata["name"])
        return _deleted(resource, metadata)

    def _mark_deleted(self, resource: Resource, old: Json, finalizers: Sequence[str], grace: int) -> Json:
        metadata = dict(old["metadata"])
        if metadata.get("deletionTimestamp"):
            return old
        metadata["deletionTimestamp"] = stamp(self.clock.now() + grace)
        if resource.kind != "CustomResourceDefinition":
            metadata["deletionGracePeriodSeconds"] = grace
            if "generation" in metadata:
                metadata["generation"] += 1
        if finalizers:
            metadata["finalizers"] = list(dict.fromkeys(finalizers))
        return self.store.put(resource.key, old | {"metadata": metadata})


def _count_template(daemon_set: Json) -> None:
    """Raises the number of a DaemonSet's template; the mark belongs to who had it."""
    annotations = daemon_set["metadata"].get("annotations", {})
    raised = {_TEMPLATE_GENERATION: str(int(annotations.get(_TEMPLATE_GENERATION, "1")) + 1)}
    daemon_set["metadata"] = daemon_set["metadata"] | {"annotations": annotations | raised}


def _check_delete(resource: Resource, old: Json, choices: Json) -> None:
    policy = choices.get("propagationPolicy")
    if policy not in (None, "Foreground", "Background", "Orphan"):
        text = f'Unsupported value: "{policy}": supported values: "Foreground", "Background", "Orphan", "nil"'
        cause = Cause("NotSupported", "propagationPolicy", text)
        raise invalid("DeleteOptions", "meta.k8s.io", "", [cause])
    wanted, metadata = choices.get("preconditions", {}), old["metadata"]
    for key, label, then in (
        ("uid", "UID", "The object might have been deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "The object might have been modified"),
    ):
        if wanted.get(key) not in (None, metadata[key]):
            why = (
                f"the {label} in the precondition ({wanted[key]}) does not match the {label} in record "
                f"({metadata[key]}). {then}"
            )
            raise conflict(resource.kind, resource.group, metadata["name"], why)


def _grace(resource: Resource, old: Json, choices: Json) -> int | None:
    """Seconds that a pod gets to end; None is removed at once."""
    if resource.kind != "Pod":
        return None
    grace = choices.get("gracePeriodSeconds")
    if grace == 0 or not old["spec"].get("nodeName"):
        return None
    return int(old["spec"].get("terminationGracePeriodSeconds", 30) if grace is None else grace)


def _deleted(resource: Resource, metadata: Json) -> Json:
    about = {
        "name": metadata["name"],
        "group": resource.group,
        "kind": resource.plural,
        "uid": metadata["uid"],
    }
    return success({key: value for key, value in about.items() if value})


def patch_kind(request: Request, resource: Resource) -> str:
    """json, merge, strategic or apply.

    Raises:
        StatusError: 415.
    """
    kind = _PATCHES.get(request.content_type)
    if kind is None:
        raise unsupported_media_type()
    if kind == "strategic" and resource.custom is not None:
        raise unsupported_media_type(_CUSTOM_PATCHES)
    return kind


def read_config(request: Request, api_version: str, kind: str) -> Json:
    """The configuration that an apply brings.

    Raises:
        StatusError: 400.
    """
    try:
        config = yaml.safe_load(request.body)
    except yaml.YAMLError as error:
        raise bad_request(f"error decoding YAML: {error}") from error
    if not isinstance(config, dict):
        raise bad_request("error decoding YAML: the configuration is no object")
    given = config.get("apiVersion", ""), config.get("kind", "")
    if given != (api_version, kind):
        shown = given[0] if "/" in given[0] or not given[0] else f"/{given[0]}"
        raise bad_request(f"invalid object type: {shown or '/'}, Kind={given[1]}")
    return config


def _other_name(given: str, name: str) -> StatusError:
    return bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")


def _wrong_uid(resource: Resource, old: Json, uid: str) -> str:
    metadata = old["metadata"]
    place = f"{metadata['namespace']}/" if "namespace" in metadata else ""
    return (
        f"StorageError: invalid object, Code: 4, Key: /registry/{resource.plural}/{place}{metadata['name']}, "
        f"ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, "
        f"UID in object meta: {metadata['uid']}"
    )


def _skeleton(obj: Json, resource: Resource) -> Json:
    return {"apiVersion": obj.get("apiVersion"), "kind": obj.get("kind"), "metadata": {}} | resource.skeleton


def _unforced(resource: Resource) -> Any:
    """The schema without objects that are printed even when empty: a configuration has what it says."""
    return _without_always(resource.schema)


def _without_always(kind: Any) -> Any:
    if isinstance(kind, Struct):
        inner = {name: _without_always(part) for name, part in kind.fields.items()}
        return Struct(inner, kind.name, kind.atomic)
    if isinstance(kind, ListOf):
        return ListOf(_without_always(kind.item), kind.keys, kind.merge_key, kind.values, kind.defaults)
    return kind


def _restricted(resource: Resource, old: Json, new: Json, subresource: str) -> Json:
    """What a write through a subresource may change, laid over the old object."""
    metadata = dict(new.get("metadata", {}))
    for name in _KEPT_METADATA:
        metadata.pop(name, None)
        if name in old["metadata"]:
            metadata[name] = old["metadata"][name]
    metadata.pop("managedFields", None)
    if "managedFields" in old["metadata"]:
        metadata["managedFields"] = old["metadata"]["managedFields"]
    head = {"apiVersion": old["apiVersion"], "kind": old["kind"]}
    if subresource == "resize":
        return {**old, "metadata": dict(old["metadata"]), "spec": _resized(old["spec"], new["spec"])}
    if subresource == "status":
        kept = old["metadata"] if resource.custom else metadata | _labels(old)
        return {**old, **head, "metadata": kept, "status": new.get("status", {})}
    body = {name: part for name, part in new.items() if name not in ("apiVersion", "kind", "metadata")}
    if "status" in resource.subresources:
        body.pop("status", None)
        body |= {"status": old["status"]} if "status" in old else {}
    return {**head, "metadata": metadata, **body}


def _labels(old: Json) -> Json:
    return {"labels": old["metadata"]["labels"]} if "labels" in old["metadata"] else {}


def _resized(old: Json, new: Json) -> Json:
    """A pod's spec with the new resources of its containers; other changes are dropped."""
    spec = dict(old)
    for kind in ("containers", "initContainers"):
        if kind not in old and kind not in new:
            continue
        known = {container["name"]: container for container in old.get(kind, ())}
        spec[kind] = [_with_resources(known.get(c.get("name")), c) for c in new.get(kind, ())]
    if "resources" in new or "resources" in old:
        spec["resources"] = new.get("resources", {})
    return spec


def _with_resources(known: Json | None, container: Json) -> Json:
    return container if known is None else {**known, "resources": container.get("resources", {})}


def _keyed(path: str, config: Json) -> str:
    """`.spec.containers[name="app"].x` for `spec.containers[0].x`."""
    node: Any = config
    shown = ""
    for part in path.replace("[", ".[").split("."):
        if part.startswith("["):
            node = node[int(part[1:-1])]
            shown += f'[name="{node["name"]}"]' if isinstance(node, dict) and "name" in node else part
        else:
            shown += f".{part}"
            node = node.get(part, {}) if isinstance(node, dict) else {}
    return shown


def duplicate_path(config: Json, resource: Resource) -> str:
    """Where two items of a list have the same key."""
    return _find_duplicate(config, resource.schema, ()) or ""


def _find_duplicate(value: Any, kind: Any, path: fields.Path) -> str | None:
    try:
        parts = fields.children(value, kind)
    except DuplicateKeyError:
        return fields.print_path(path)
    for element, (part, part_kind) in (parts or {}).items():
        found = _find_duplicate(part, part_kind, (*path, element))
        if found:
            return found
    return None
