"""What the code of plugins raises, in a line."""

import traceback
from pathlib import Path

_ERROR_LENGTH = 500


def describe(error: BaseException) -> str:
    """Says in one line what foreign code raised, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    text = " ".join(f"raised {type(error).__name__}: {error}".split())
    return _storable(text[:_ERROR_LENGTH] + where)


def _storable(text: str) -> str:
    """Spells out what PostgreSQL or UTF-8 can't hold: NUL and lone surrogates."""
    return text.replace("\0", r"\x00").encode(errors="backslashreplace").decode()
