"""How knobs are put into force once rules have moved them. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from perfopt.domain.fields import KNOB_SETTINGS, knobs
from perfopt.domain.workload import WorkloadState
from perfopt.plugin.strategy import Proposal

TEMPLATES = "knob_templates"


def put_into_force(proposal: Proposal, target: WorkloadState) -> WorkloadState:
    """Returns a target whose `knob_settings` say what its knobs say.

    A proposal's data may have `knob_templates`: by container what `knob_settings` has, with `__KNOB__` where
    the value of a knob stands. Without, what was moved is said in words.

    Args:
        proposal: as the strategy made it.
        target: as rules left it.
    """
    before, after = knobs(proposal.target), knobs(target)
    settings: dict[str, Any] = dict(target.extra.get(KNOB_SETTINGS) or {})
    templates = proposal.data.get(TEMPLATES, {})
    for container, own in after.items():
        if own != before.get(container):
            template = templates.get(container)
            settings[container] = _in_words(container, own) if template is None else _filled(template, own)
    if settings == (target.extra.get(KNOB_SETTINGS) or {}):
        return target
    return msgspec.structs.replace(target, extra=target.extra | {KNOB_SETTINGS: settings})


def _filled(template: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(template, str):
        for name, value in values.items():
            template = template.replace(f"__{name}__", str(value))
        return template
    if isinstance(template, Mapping):
        return {key: _filled(value, values) for key, value in template.items()}
    return [_filled(value, values) for value in template]


def _in_words(container: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {"by_hand": [f"Set {name} of {container} to {value}." for name, value in values.items()]}
