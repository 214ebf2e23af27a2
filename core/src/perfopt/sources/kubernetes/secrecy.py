"""What of a manifest is never kept: variables, arguments and annotations that look like secrets. Pure."""

import re
from collections.abc import Mapping, Sequence

from perfopt.domain.workload import CONCEALED

_WORDS = r"passw|passphrase|pwd|secret|token|key|credential|private|auth|cookie|cert|dsn|jwt|salt|signature"
_NAME = re.compile(rf"(?:{_WORDS}|(?:^|[_.-])pass$)", re.I)
_VALUE = re.compile(r"-----BEGIN |\beyJ[\w-]{10,}\.[\w-]+\.")  # PEM, JSON Web Token
_FLAG = re.compile(r"--?[\w.-]+")
_INLINE = (
    (re.compile(r"(\b(?:bearer|basic)\s+)[\w.+/=-]{8,}", re.I), rf"\1{CONCEALED}"),
    (re.compile(r"(?<=://)([^/@\s:]*):[^@\s/]+@"), rf"\1:{CONCEALED}@"),
    # --db-password x, -Dstore.password=x, API_TOKEN=x, password: "x"; quoted values to their end
    (
        re.compile(
            rf"([\w.-]*(?:{_WORDS})[\w.-]*[\"']?\s*[=:]\s*|--?[\w.-]*(?:{_WORDS})[\w.-]*\s+(?!-))"
            r"(\"[^\"]*\"|'[^']*'|[^\s&;,]+)",
            re.I,
        ),
        rf"\1{CONCEALED}",
    ),
)
_MANIFEST_COPIES = ("kubectl.kubernetes.io/last-applied-configuration",)
_LONGEST_ANNOTATION = 2048


def looks_secret(name: str) -> bool:
    """Tells whether a name is that of something secret: PASSWORD, token, apiKey, ..."""
    return _NAME.search(name) is not None


def concealed(text: str) -> str:
    """Returns a text with what looks like a secret within it replaced by CONCEALED."""
    if _VALUE.search(text):
        return CONCEALED
    for pattern, shown in _INLINE:
        text = pattern.sub(shown, text)
    return text


def kept_env(variables: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables whose names do not look secret, with what does in their values concealed."""
    return {name: concealed(value) for name, value in variables.items() if not looks_secret(name)}


def kept_arguments(arguments: Sequence[str] | None) -> tuple[str, ...] | None:
    """Returns a command line with what looks like a secret concealed, also after `--token` on its own."""
    if arguments is None:
        return None
    shown: list[str] = []
    for argument, before in zip(arguments, ("", *arguments), strict=False):
        names_secret = _FLAG.fullmatch(before) is not None and looks_secret(before)
        shown.append(CONCEALED if names_secret and not argument.startswith("-") else concealed(argument))
    return tuple(shown)


def kept_annotations(annotations: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Returns annotations without copies of manifests, long texts, and names that look secret.

    Args:
        annotations: name to value; what looks secret in a value is concealed.
        prefix: of names that are kept as they are.
    """
    return {
        name: value if name.startswith(prefix) else concealed(value)
        for name, value in annotations.items()
        if name.startswith(prefix)
        or (name not in _MANIFEST_COPIES and len(value) <= _LONGEST_ANNOTATION and not looks_secret(name))
    }
