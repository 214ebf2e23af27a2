"""Which service a command asks, and as whom."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from perfopt.errors import InvalidInputError
from perfopt_api.client import DEFAULT_SERVER, ServiceClient


def service_options[F: Callable[..., Any]](command: F) -> F:
    """Adds the options that say which service is asked, and as whom."""
    command = click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="PERFOPT_TOKEN_FILE",
        help="File that holds the token; default: the variable PERFOPT_TOKEN.",
    )(command)
    return click.option(
        "--server",
        envvar="PERFOPT_SERVER",
        default=DEFAULT_SERVER,
        show_default=True,
        help="Address of the service; also PERFOPT_SERVER.",
    )(command)


def service_client(server: str, token_file: Path | None) -> ServiceClient:
    """Returns a client of the service that the options name.

    Raises:
        InvalidInputError: the address or the file of the token is wrong.
    """
    return ServiceClient(server, _token(token_file))


def _token(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get("PERFOPT_TOKEN") or None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.",
            field="token-file",
            remedy="Check the path and its mode.",
        ) from error
