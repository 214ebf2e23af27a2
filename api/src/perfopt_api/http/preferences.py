"""The `Prefer` header (RFC 7240): only `wait` is known; what is malformed is ignored, as the RFC asks."""

import re
from datetime import timedelta

_WAIT = re.compile(r'\s*wait\s*=\s*"?(?P<seconds>\d{1,9})"?\s*(?:;.*)?', re.I | re.S)


def preferred_wait(headers: list[str], most: timedelta) -> timedelta | None:
    """Returns how long to wait: what was asked for, at most `most`; None where no wait was asked for.

    The first `wait` counts when it is given several times.
    """
    for preference in ",".join(headers).split(","):
        match = _WAIT.fullmatch(preference)
        if match:
            return min(timedelta(seconds=int(match["seconds"])), most)
    return None
