"""The command perfopt-knobs: checks a catalogue of knobs, and shows what is in force."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from perfopt.plugin.documents import InvalidInputError
from perfopt_tuning.knobs.read import read_catalogue, shipped_catalogue
from perfopt_tuning.knobs.schema import FACTS, KnobCatalogue


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 where a catalogue is wrong."""
    parser = argparse.ArgumentParser(prog="perfopt-knobs", description="Catalogues of runtime knobs.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="check a catalogue of your own")
    check.add_argument("file", type=Path)
    commands.add_parser("list", help="the knobs that are shipped, with their formulas")
    commands.add_parser("facts", help="what formulas may ask for")
    given = parser.parse_args(arguments)
    try:
        return _check(given.file) if given.command == "check" else _show(given.command)
    except InvalidInputError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _check(path: Path) -> int:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InvalidInputError(
            f"{path} cannot be read: {reason}.", remedy="Check the path, and that it may be read."
        ) from error
    own = read_catalogue(text, str(path), shipped_catalogue())
    added = sum(own.knobs[name] != knob for name, knob in shipped_catalogue().knobs.items())
    new = len(own.knobs) - len(shipped_catalogue().knobs)
    sys.stdout.write(f"{path} is valid: {new} knobs added, {added} in place of shipped ones.\n")
    return 0


def _show(what: str) -> int:
    catalogue = shipped_catalogue()
    lines = _knobs(catalogue) if what == "list" else _facts(catalogue)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _knobs(catalogue: KnobCatalogue) -> list[str]:
    return [
        f"{name:28} {knob.entry.runtime:10} "
        + (knob.formula.text if knob.formula is not None else "by search, one step at a time")
        for name, knob in catalogue.knobs.items()
    ]


def _facts(catalogue: KnobCatalogue) -> list[str]:
    facts = [f"{name:28} {what}" for name, what in FACTS.items()]
    inputs = [
        f"{name:28} {entry.what} (annotation perfopt.io/input.{name})"
        for name, entry in catalogue.inputs.items()
    ]
    return [*facts, *inputs]
