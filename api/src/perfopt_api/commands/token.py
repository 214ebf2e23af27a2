"""`perfopt token`: tokens of the API."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perfopt.cli.groups import SuggestingGroup
from perfopt.cli.options import config_option, format_option, load
from perfopt_api.commands.user import system_user

if TYPE_CHECKING:
    from perfopt_api.auth.roles import Grant
    from perfopt_api.auth.tokens import TokenRecord
    from perfopt_api.store.tokens import PostgresTokens

MAX_LIFETIME = timedelta(days=366)
_ROLES = ("viewer", "operator", "approver", "admin")
_NAME = "^[A-Za-z0-9_.@-]{1,100}$"


@click.group("token", cls=SuggestingGroup)
def token() -> None:
    """Create, list and revoke tokens of the API, directly in its database."""


@token.command("create")
@click.argument("name")
@click.option(
    "--role", type=click.Choice(_ROLES), default="viewer", show_default=True, help="What its holder may do."
)
@click.option(
    "--namespace", "namespaces", multiple=True, help="Where it may; repeat it for several. All otherwise."
)
@click.option("--expires", default="90d", show_default=True, help="When it ends, from now on; 366d at most.")
@config_option
def create(name: str, role: str, namespaces: tuple[str, ...], expires: str, config_file: Path | None) -> None:
    """Create a token for NAME, who is named in approvals and the audit.

    The token alone goes to standard output. It is shown once: only its hash is stored.
    """
    from perfopt.domain.period import parse_duration
    from perfopt.errors import InvalidInputError

    lifetime = parse_duration(expires, field="--expires")
    if not timedelta(0) < lifetime <= MAX_LIFETIME:
        raise InvalidInputError("A token lives for 366 days at most.", field="--expires", remedy="Give 90d.")
    grant = _grant(name, role, namespaces)
    until = datetime.now(UTC) + lifetime
    record, text = _with_tokens(config_file, lambda tokens: tokens.create(name, grant, until, system_user()))
    click.echo(
        f"Token {record.token_id} of {name}: {role} in {_where(record)}, until {_day(until)}.", err=True
    )
    click.echo(text)


def _grant(name: str, role: str, namespaces: tuple[str, ...]) -> "Grant":
    import re

    import msgspec

    from perfopt.errors import InvalidInputError
    from perfopt_api.auth.roles import EVERY_NAMESPACE, Grant

    if not re.fullmatch(_NAME, name):
        raise InvalidInputError(
            f"{name!r} is no name.", field="NAME", remedy="Use letters, digits and _ . @ -."
        )
    try:
        return msgspec.convert({"role": role, "namespaces": namespaces or (EVERY_NAMESPACE,)}, Grant)
    except msgspec.ValidationError as error:
        raise InvalidInputError(
            f"{', '.join(namespaces)} are no names of namespaces.", field="--namespace", remedy="Use shop."
        ) from error


@token.command("list")
@format_option("table", "json")
@config_option
def list_command(form: str, config_file: Path | None) -> None:
    """List tokens, newest first, without anything that would let somebody in."""
    from perfopt.cli.output.render import to_json

    listed = _with_tokens(config_file, lambda tokens: tokens.list_tokens())
    if form == "json":
        click.echo(to_json([_shown(record) for record in listed]), nl=False)
        return
    for record in listed:
        allowed = f"{record.grant.role.value} in {_where(record)}"
        click.echo(f"{record.token_id}  {record.name}  {allowed}  {_state(record)}")
    if not listed:
        click.echo("There are no tokens. `perfopt token create NAME --role operator` makes one.")


@token.command("revoke")
@click.argument("token_id")
@config_option
def revoke(token_id: str, config_file: Path | None) -> None:
    """Have a token refused, within ten seconds everywhere."""
    record = _with_tokens(config_file, lambda tokens: tokens.revoke(token_id, system_user()))
    click.echo(f"Token {record.token_id} of {record.name} is revoked.")


def _shown(record: "TokenRecord") -> dict[str, object]:
    import msgspec

    shown: dict[str, object] = msgspec.to_builtins(record)
    del shown["secret_hash"]
    return shown


def _where(record: "TokenRecord") -> str:
    names = record.grant.namespaces
    return "all namespaces" if "*" in names else ", ".join(names)


def _state(record: "TokenRecord") -> str:
    if record.revoked_at is not None:
        return f"revoked {_day(record.revoked_at)}"
    if record.expires_at <= datetime.now(UTC):
        return f"expired {_day(record.expires_at)}"
    used = "never used" if record.last_used_at is None else f"last used {_day(record.last_used_at)}"
    return f"until {_day(record.expires_at)}, {used}"


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d}"


def _with_tokens[T](config_file: Path | None, work: Callable[["PostgresTokens"], Awaitable[T]]) -> T:
    from perfopt_api.settings import service_settings
    from perfopt_api.store.database import Database
    from perfopt_api.store.tokens import PostgresTokens

    settings = service_settings(load(config_file))

    async def run() -> T:
        database = Database(settings.database_url, pool_size=1)
        try:
            return await work(PostgresTokens(database))
        finally:
            await database.close()

    return asyncio.run(run())
