"""`perfopt plugin check`: the contract suite, with a line for each property."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from perfopt.cli.options import format_option

if TYPE_CHECKING:
    from perfopt.testing import CheckResult

FAILED = 1
_STATES = {True: "pass", False: "FAIL", None: "skip"}


@click.command("check")
@click.argument("package")
@click.option(
    "--deadline", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="Seconds a call."
)
@click.option("--memory", type=click.IntRange(min=64), default=1024, show_default=True, help="Limit in MiB.")
@format_option("table", "json")
def check_plugin(package: str, deadline: float, memory: int, form: str) -> None:
    """Run the contract suites on what PACKAGE brings.

    On its strategies, forecasters and settings.

    PACKAGE is an installed plugin, one of its strategies or forecasters (plugin/name), a module, or what an
    entry point would name (package.module:Class). Exit code 1 where a property is lacking or the plugin can't
    be loaded.
    """
    from perfopt.cli.output.render import to_json
    from perfopt.testing import CheckResult, ContractViolation

    parts, problem = _loaded(package)
    if problem is None:
        results = _checked(parts, deadline, memory)
    else:
        results = {package: (CheckResult("loads", False, (ContractViolation("loads", problem),)),)}
    click.echo(to_json(_plain(results)) if form == "json" else _report(results), nl=False)
    if any(not result.passed for checks in results.values() for result in checks):
        raise click.exceptions.Exit(FAILED)


@dataclass(frozen=True)
class _Parts:
    """What a package brings, by key: strategies, forecasters, and the types of settings."""

    strategies: Mapping[str, Any] = field(default_factory=dict)
    forecasters: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def _checked(parts: _Parts, deadline: float, memory: int) -> "dict[str, tuple[CheckResult, ...]]":
    from perfopt.testing import CheckResult, check_results, check_settings, forecaster_results
    from perfopt.testing.contract import SETTINGS_CHECK

    results = {
        key: check_results(strategy, deadline_seconds=deadline, memory_limit_mib=memory)
        for key, strategy in parts.strategies.items()
    }
    results |= {key: forecaster_results(forecaster) for key, forecaster in parts.forecasters.items()}
    for plugin, kind in parts.settings.items():
        settings_results = tuple(check_settings(kind))
        results[plugin] = (CheckResult(SETTINGS_CHECK, not settings_results, settings_results),)
    return results


def _loaded(package: str) -> tuple[_Parts, str | None]:
    """Returns what a package brings, or why it can't be loaded."""
    from perfopt.engine.authoring import find_forecasters, find_settings, find_strategies
    from perfopt.engine.brought import ContributionError
    from perfopt.engine.foreign import describe
    from perfopt.errors import NotFoundError, PerfoptError

    try:
        forecasters, settings = find_forecasters(package), find_settings(package)
        try:
            strategies = find_strategies(package)
        except NotFoundError:
            if not forecasters and not settings:
                raise
            strategies = {}
        return _Parts(strategies, forecasters, settings), None
    except (PerfoptError, KeyboardInterrupt):
        raise
    except ContributionError as error:
        return _Parts(), str(error)
    except BaseException as error:  # foreign code may raise anything, SystemExit too
        return _Parts(), f"Importing it {describe(error)}; `perfopt plugin run {package}` shows where."


def _plain(results: "dict[str, tuple[CheckResult, ...]]") -> list[dict[str, object]]:
    return [
        {
            "strategy": key,
            "check": result.check,
            "passed": result.passed,
            "violations": [
                {"message": violation.message, "history": violation.case} for violation in result.violations
            ],
        }
        for key, checks in results.items()
        for result in checks
    ]


def _report(results: "dict[str, tuple[CheckResult, ...]]") -> str:
    from perfopt.testing import CHECKS, FORECASTER_CHECKS
    from perfopt.testing.contract import SETTINGS_CHECK

    about_settings = {SETTINGS_CHECK: "can be read, and each has a default and a description"}
    lines = []
    for key, outcomes in results.items():
        lines.append(key)
        checks = CHECKS if len(outcomes) == len(CHECKS) else FORECASTER_CHECKS | about_settings
        for result in outcomes:
            meaning = checks.get(result.check, "can be imported and registers strategies")
            lines.append(f"  {_STATES[result.passed]:<5} {result.check:<15} {meaning}")
            lines += [f"        {text}" for text in _reasons(result)]
    return "".join(f"{line}\n" for line in [*lines, _summary(results)])


def _reasons(result: "CheckResult") -> list[str]:
    histories: dict[str, list[str]] = {}
    for violation in result.violations:
        histories.setdefault(violation.message, []).extend([violation.case] if violation.case else [])
    return [
        f"{message} (histories: {', '.join(cases)})" if cases else message
        for message, cases in histories.items()
    ]


def _summary(results: "dict[str, tuple[CheckResult, ...]]") -> str:
    passed = [result.passed for checks in results.values() for result in checks]
    failed, skipped = passed.count(False), passed.count(None)
    rest = f", {skipped} skipped, since the strategy did not get that far" if skipped else ""
    return f"{passed.count(True)} passed, {failed} failed{rest}."
