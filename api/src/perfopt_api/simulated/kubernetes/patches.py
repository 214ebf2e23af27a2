"""JSON merge patch (RFC 7386), JSON patch (RFC 6902) and Kubernetes' strategic merge patch."""

import copy
import json
from typing import Any

from perfopt_api.simulated.kubernetes.schema import Free, ListOf, MapOf, Struct, Type
from perfopt_api.simulated.kubernetes.status import Json, bad_request, internal, rejected


def merge_patch(value: Any, patch: Any) -> Any:
    """Objects are merged, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(value) if isinstance(value, dict) else {}
    for name, part in patch.items():
        if part is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), part)
    return result


def json_patch(value: Any, operations: Any) -> Any:
    """Applies the operations in order, all or none.

    Raises:
        StatusError: 400 for what is no list of operations, 422 where one does not fit.
    """
    if not isinstance(operations, list):
        message = (
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        )
        raise bad_request(message)
    result = copy.deepcopy(value)
    for operation in operations:
        try:
            result = _operate(result, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise rejected() from error
    return result


def _operate(document: Any, operation: Json) -> Any:
    kind, path = operation["op"], _pointer(operation["path"])
    match kind:
        case "test":
            if _get(document, path) != operation.get("value"):
                raise ValueError(operation["path"])
            return document
        case "add":
            return _put(document, path, copy.deepcopy(operation["value"]), insert=True)
        case "replace":
            _get(document, path)
            return _put(document, path, copy.deepcopy(operation["value"]), insert=False)
        case "remove":
            return _remove(document, path)
        case "copy" | "move":
            source = _pointer(operation["from"])
            value = copy.deepcopy(_get(document, source))
            document = _remove(document, source) if kind == "move" else document
            return _put(document, path, value, insert=True)
    raise ValueError(kind)


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(text)
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _step(node: Any, part: str) -> Any:
    return node[int(part)] if isinstance(node, list) else node[part]


def _get(document: Any, path: list[str]) -> Any:
    for part in path:
        document = _step(document, part)
    return document


def _put(document: Any, path: list[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    holder, last = _get(document, path[:-1]), path[-1]
    if isinstance(holder, list):
        if last == "-":
            holder.append(value)
        elif insert:
            if int(last) > len(holder):
                raise IndexError(last)
            holder.insert(int(last), value)
        else:
            holder[int(last)] = value
    else:
        holder[last] = value
    return document


def _remove(document: Any, path: list[str]) -> Any:
    holder, last = _get(document, path[:-1]), path[-1]
    del holder[int(last) if isinstance(holder, list) else last]
    return document


def strategic_merge(value: Any, patch: Any, kind: Type) -> Any:
    """Merges as the kind's types say: lists by their merge key, `$patch` directives obeyed.

    Raises:
        StatusError: an item lacks its merge key.
    """
    if isinstance(patch, dict) and isinstance(kind, Struct | MapOf | Free):
        return _merge_object(value, patch, kind)
    if isinstance(patch, list) and isinstance(kind, ListOf):
        return _merge_list(value if isinstance(value, list) else [], patch, kind)
    return copy.deepcopy(patch)


def _merge_object(value: Any, patch: Json, kind: Struct | MapOf | Free) -> Json:
    directive = patch.get("$patch")
    if directive == "replace":
        return {name: copy.deepcopy(part) for name, part in patch.items() if name != "$patch"}
    result = dict(value) if isinstance(value, dict) else {}
    for name, part in patch.items():
        if name.startswith(("$setElementOrder/", "$retainKeys", "$patch")):
            continue
        if name.startswith("$deleteFromPrimitiveList/"):
            target = name.partition("/")[2]
            result[target] = [item for item in result.get(target, ()) if item not in part]
        elif part is None:
            result.pop(name, None)
        else:
            result[name] = strategic_merge(result.get(name), part, _inner(kind, name))
    return result


def _inner(kind: Struct | MapOf | Free, name: str) -> Type:
    if isinstance(kind, Struct):
        return kind.fields.get(name, Free())
    return kind.value if isinstance(kind, MapOf) else kind


def _merge_list(items: list[Any], patch: list[Any], kind: ListOf) -> list[Any]:
    if kind.values:
        return [*items, *(item for item in patch if item not in items)]
    if not kind.merge_key:
        return copy.deepcopy(patch)
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [copy.deepcopy(item) for item in patch if item.get("$patch") != "replace"]
    key = kind.merge_key
    result = list(items)
    added = []
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise internal(f"map: {go_print(item)} does not contain declared merge key: {key}")
        place = next((n for n, known in enumerate(result) if known.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            result = [known for known in result if known.get(key) != item[key]]
        elif place is None:
            added.append(strategic_merge({}, item, kind.item))
        else:
            result[place] = strategic_merge(result[place], item, kind.item)
    return added + result


def go_print(value: Any) -> str:
    """Prints JSON as Go's %v prints it: `map[spec:map[replicas:3]]`."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{name}:{go_print(part)}' for name, part in sorted(value.items()))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(go_print, value))}]"
    if value is None:
        return "<nil>"
    return value if isinstance(value, str) else json.dumps(value)
