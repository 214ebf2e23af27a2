"""Paths of keys in documents, as users write them, and the nearest name to a wrong one."""

import difflib

KeyPath = tuple[str | int, ...]


def dotted(path: KeyPath) -> str:
    """Prints a path as a user writes it: services.web.requests.cpu, headers[0]."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def suggestion(name: str, known: tuple[str, ...]) -> str:
    """Returns a remedy for an unknown name: the nearest known one, or all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known: {', '.join(known)}." if known else "Remove it."
