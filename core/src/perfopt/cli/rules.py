"""`perfopt rules`: check packs, list those that take part, explain what rules did to a recommendation."""

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from perfopt.cli.groups import SuggestingGroup
from perfopt.cli.options import config_option, format_option, load, lookup_options

if TYPE_CHECKING:
    from perfopt.rules import PackSetting
    from perfopt.rules.variable import RuleVariable


@click.group(cls=SuggestingGroup)
def rules() -> None:
    """Check, list and explain rule packs."""


@rules.command("check")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
def check(paths: tuple[Path, ...]) -> None:
    """Check rule packs: files, or directories of them. Exit code 2 if one is invalid."""
    from perfopt.rules.reading import check_pack, pack_files

    wrong = False
    for file in (file for path in paths for file in pack_files(path)):
        pack, problems = check_pack(file)
        for problem in problems:
            click.echo(f"Error: {problem}", err=True)
        wrong = wrong or bool(problems)
        if pack is not None:
            count = f"{len(pack.rules)} rule{'s' if len(pack.rules) != 1 else ''}"
            click.echo(f"{file}: {pack.name} {pack.version} is valid, {count}.")
    if wrong:
        click.get_current_context().exit(2)


@rules.command("list")
@click.option("--namespace", default="", help="As for workloads of this namespace.")
@config_option
@format_option("table", "json")
def list_packs(namespace: str, config_file: Path | None, form: str) -> None:
    """List the rule packs in the order they run."""
    from perfopt.cli.output.render import to_json
    from perfopt.engine import probe_plugins
    from perfopt.engine.allowlist import left_out
    from perfopt.rules import RuleSources, pack_settings

    config = load(config_file)
    files = probe_plugins(left_out(config.engine)).pack_files
    settings = pack_settings(RuleSources.read(config.rules, files), namespace)
    click.echo(to_json([one.shown() for one in settings]) if form == "json" else _packs(settings), nl=False)


def _packs(settings: "tuple[PackSetting, ...]") -> str:
    from perfopt.cli.output.render import table

    rows = []
    for one in settings:
        shown = one.shown()
        parameters = ", ".join(f"{name}={value}" for name, value in shown["parameters"].items())
        state = "on" if shown["enabled"] else "off"
        kind = "safety" if shown["safety"] else ""
        rows.append((shown["name"], shown["version"], shown["layer"], state, kind, parameters))
    return table(("NAME", "VERSION", "LAYER", "STATE", "KIND", "PARAMETERS"), rows)


@rules.command("variables")
@format_option("table", "json")
def list_variables(form: str) -> None:
    """List the variables that rules may read."""
    from perfopt.cli.output.render import table, to_json
    from perfopt.rules.variables import VARIABLES

    variables = list(VARIABLES.values())
    if form == "json":
        click.echo(to_json([_variable(variable) for variable in variables]), nl=False)
        return
    rows = [tuple(_variable(variable).values()) for variable in variables]
    click.echo(table(("NAME", "TYPE", "UNIT", "IN RULES", "MEANING"), rows), nl=False)


def _variable(variable: "RuleVariable") -> dict[str, str]:
    kinds = {"list": "list of strings", "map": "map of strings"}
    where = {
        "workload": "all",
        "container": "for containers",
        "proposal": "after the strategy",
        "container proposal": "for containers, after the strategy",
    }
    return {
        "name": variable.name,
        "type": kinds.get(variable.kind, variable.kind),
        "unit": variable.unit,
        "rules": where[variable.scope],
        "meaning": variable.description,
    }


@rules.command("explain")
@click.argument("recommendation", required=False)
@lookup_options
@format_option("table", "json")
def explain(recommendation: str | None, server: str | None, source: BinaryIO, form: str) -> None:
    """Show which rules changed a RECOMMENDATION.

    Also when they allow it to be applied. Without RECOMMENDATION, on each of those in the input, and on the
    plans of several.
    """
    from perfopt.cli.lookup import fetched, given, given_plans, read_input
    from perfopt.cli.output.render import to_json
    from perfopt.cli.output.rules import explanation, plan_explanation

    plans = []
    if server is not None:
        if recommendation is None:
            raise click.UsageError("Name the recommendation to ask the service for.")
        recommendations = [fetched(server, recommendation)]
    else:
        text = read_input(source)
        recommendations = given(text, recommendation)
        plans = given_plans(text) if recommendation is None else []
    if form == "json":
        click.echo(
            to_json([{"recommendation_id": m.recommendation_id, "rules": m.rules} for m in recommendations]),
            nl=False,
        )
        return
    texts = [*(explanation(one) for one in recommendations), *(plan_explanation(*plan) for plan in plans)]
    click.echo("\n".join(texts), nl=False)
