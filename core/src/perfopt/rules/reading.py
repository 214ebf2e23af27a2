"""Reads rule packs from YAML; whatever is wrong is said with file, line and what to write instead."""

import re
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from perfopt.config.documents import YamlDocument, read_yaml
from perfopt.config.paths import KeyPath
from perfopt.errors import InvalidInputError
from perfopt.rules.compiled import RuleCompiler, RuleProblemError, check_parameter
from perfopt.rules.errors import RulePackError
from perfopt.rules.pack import API_VERSION, PackParameter, PackRule, RulePack

_HEADER = {"apiVersion": API_VERSION, "kind": "RulePack"}
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_PARAMETER = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def read_pack(path: Path) -> RulePack:
    """Reads and checks one pack.

    Raises:
        InvalidInputError: the first thing that is wrong with it.
    """
    pack, problems = check_pack(path)
    if problems or pack is None:
        raise problems[0]
    return pack


def check_pack(path: Path) -> tuple[RulePack | None, list[InvalidInputError]]:
    """Reads one pack and returns it, or all that is wrong with it."""
    try:
        document = read_yaml(path, what="rule pack")
        pack = _header(document)
    except InvalidInputError as error:
        return None, [error]
    problems: list[InvalidInputError] = []
    rules: list[PackRule] = []
    compiler = RuleCompiler(pack)
    for number in range(len(document.data["rules"])):
        try:
            rule = _rule(document, number, compiler)
            _check_new(document, number, rule, rules)
            rules.append(rule)
        except InvalidInputError as error:
            problems.append(error)
    return (None if problems else msgspec.structs.replace(pack, rules=tuple(rules))), problems


def read_packs(paths: tuple[str, ...]) -> tuple[RulePack, ...]:
    """Reads the packs of files and directories (their *.yaml and *.yml, by name).

    Raises:
        InvalidInputError: a path that is not there, or a wrong pack.
    """
    return tuple(read_pack(file) for path in paths for file in pack_files(Path(path)))


def pack_files(path: Path) -> list[Path]:
    """Returns a file, or the pack files of a directory by name.

    Raises:
        InvalidInputError: a directory without any.
    """
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
    if not files:
        raise InvalidInputError(f"The directory {path} holds no rule pack.", remedy="Put *.yaml files there.")
    return files


@lru_cache(maxsize=1)
def shipped_packs() -> tuple[RulePack, ...]:
    """Returns the packs that perfopt brings."""
    with resources.as_file(resources.files("perfopt.rules") / "packs") as folder:
        packs = [read_pack(file) for file in pack_files(folder)]
    return tuple(msgspec.structs.replace(pack, origin="perfopt") for pack in packs)


def _header(document: YamlDocument) -> RulePack:
    data = dict(document.data)
    for key, kind in _HEADER.items():
        if data.pop(key, None) != kind:
            document.fail((key,), f"This is not {key}: {kind}.", f"Write {key}: {kind}.")
    if not isinstance(data.get("rules"), list) or not data["rules"]:
        document.fail(("rules",), "The pack has no list of rules.", "Write `rules:` and a dash for each.")
    pack = document.convert({**data, "rules": []}, RulePack)
    _check_text(document, ("name",), pack.name, _NAME, "Use a-z, 0-9 and -, a letter first.")
    _check_text(document, ("version",), pack.version, _VERSION, "Write three numbers, such as 1.0.0.")
    parameters = {name: _parameter(document, name, p) for name, p in pack.parameters.items()}
    return msgspec.structs.replace(pack, parameters=parameters, origin=document.name)


def _check_text(document: YamlDocument, path: KeyPath, text: str, form: re.Pattern[str], remedy: str) -> None:
    if not form.fullmatch(text):
        document.fail(path, f"{text!r} is malformed.", remedy)


def _parameter(document: YamlDocument, name: str, declared: PackParameter) -> PackParameter:
    path: KeyPath = ("parameters", name)
    _check_text(document, path, name, _PARAMETER, "Use a-z, 0-9 and _, a letter first.")
    try:
        return check_parameter(declared)
    except InvalidInputError as error:
        document.fail((*path, "default"), error.message, error.remedy or "Correct the value.")


def _rule(document: YamlDocument, number: int, compiler: RuleCompiler) -> PackRule:
    path: KeyPath = ("rules", number)
    value: Any = document.data["rules"][number]
    rule = document.convert(value, PackRule, path)
    try:
        compiler.compile(rule)
    except RuleProblemError as problem:
        error = problem.error
        text = f"{error.message} ({document.where((*path, *problem.path))}, rule {rule.name})"
        raise RulePackError(text, remedy=error.remedy) from problem
    return rule


def _check_new(document: YamlDocument, number: int, rule: PackRule, rules: list[PackRule]) -> None:
    if any(other.name == rule.name for other in rules):
        document.fail(
            ("rules", number, "name"), f"There are two rules {rule.name!r}.", "Give one another name."
        )
