"""The page around charts: self-contained HTML, light or dark as the reader's system is, without scripts."""

from html import escape
from importlib.resources import files

_STYLE = files("perfopt.charts").joinpath("page.css").read_text(encoding="utf-8")


def document(title: str, body: str) -> str:
    """Returns a whole page.

    Args:
        title: plain text.
        body: HTML.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )
