"""Server-side apply."""

import copy

from perfopt_api.simulated.kubernetes import fields, managed
from perfopt_api.simulated.kubernetes.bodies import duplicate_path, keyed, read_config, unforced
from perfopt_api.simulated.kubernetes.clock import stamp
from perfopt_api.simulated.kubernetes.fields import DuplicateKeyError
from perfopt_api.simulated.kubernetes.http import Request, WriteOptions
from perfopt_api.simulated.kubernetes.kinds import Resource
from perfopt_api.simulated.kubernetes.managed import Writer
from perfopt_api.simulated.kubernetes.restriction import restricted
from perfopt_api.simulated.kubernetes.status import Json, bad_request, internal
from perfopt_api.simulated.kubernetes.typed import DecodeError, Decoder
from perfopt_api.simulated.kubernetes.writes import Writes, other_name, skeleton


class AppliedWrites(Writes):
    """Writes objects of any kind, by server-side apply as well."""

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
            raise other_name(metadata["name"], name)
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
            typed: Json = decoder.decode(config, unforced(resource))
        except DecodeError as error:
            kind = f"{resource.api_version}, Kind={resource.kind}"
            message = f"failed to convert new object {label} to proper version: "
            message += f"unable to convert unstructured object to {kind}: {error}"
            raise internal(message) from error
        if decoder.unknown:
            where = keyed(decoder.unknown[0], config)
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
                old, resource.schema, resource.api_version, skeleton(old, resource), now
            )
        try:
            merged, after = managed.apply(
                old, config, resource.schema, entries, writer, now, force=options.force
            )
        except DuplicateKeyError as error:
            path = duplicate_path(config, resource)
            raise internal(f"failed to create typed patch object {label}: {path}: {error}") from error
        new = restricted(resource, old, Decoder().decode(merged, resource.schema), subresource)
        resource.fill(new)
        self.count_generation(resource, old, new)
        self._check_update(resource, old, new, subresource)
        managed.write(new, after)
        return self.store_update(resource, old, new, dry_run=options.dry_run)
