"""What contradicting safety rules ask of a field, in words, and what to do about it."""

from collections.abc import Sequence

from perfopt.domain.rules import FiredRule
from perfopt.rules.active import WorkloadRule

MAX_SHOWN = 2  # fields: a request and its limit


def contradiction(moving: Sequence[WorkloadRule], fired: Sequence[FiredRule]) -> str:
    """Returns what to do, and the fields on which rules never settle with the bounds of each rule.

    Args:
        moving: the rules that still changed something when they were last run.
        fired: what these changed.
    """
    bounds: dict[str, list[str]] = {}
    for bound in moving:
        for field, text in _bounds(bound, fired):
            if text not in bounds.setdefault(field, []):
                bounds[field].append(text)
    opposed = {field: texts for field, texts in bounds.items() if len(texts) > 1} or bounds
    shown = [f"{field} would have to be {' and '.join(texts)}" for field, texts in opposed.items()]
    more = f"; and {len(shown) - MAX_SHOWN} more" if len(shown) > MAX_SHOWN else ""
    remedies = dict.fromkeys(one for one in (bound.compiled.rule.remedy for bound in moving) if one)
    return " ".join([*remedies, f"Safety rules contradict each other: {'; '.join(shown[:MAX_SHOWN])}{more}."])


def _bounds(bound: WorkloadRule, fired: Sequence[FiredRule]) -> list[tuple[str, str]]:
    """Returns each field that a rule bounded, and to what."""
    pack, rule = bound.compiled.pack.name, bound.compiled.rule.name
    named = {field: change for change in bound.compiled.changes for field in change.fields}
    found = []
    for one in fired:
        change = named.get(one.field or "")
        if (one.pack, one.rule) != (pack, rule) or change is None:
            continue
        both = change.at_least is not None and change.at_most is not None
        side = "" if both else "at most " if change.at_least is None else "at least "
        label = " ".join(filter(None, (one.container, one.field)))
        found.append((label, f"{side}{one.after} ({pack}/{rule}: {_in_a_sentence(one.reason)})"))
    return found


def _in_a_sentence(reason: str) -> str:
    return reason[:1].lower() + reason[1:].removesuffix(".")
