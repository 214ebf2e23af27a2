"""How a value is put into force in a container: variables, arguments, or by hand."""

import re
import shlex
from dataclasses import dataclass, field

from perfopt.plugin import CONCEALED, Container
from perfopt_tuning.knobs.formula import Value
from perfopt_tuning.knobs.schema import Knob
from perfopt_tuning.knobs.values import plain, with_unit


@dataclass(slots=True)
class ManifestChanges:
    """The changes to the manifest of one container, put together knob by knob.

    Attributes:
        env: variables to set, complete.
        command, args: the whole new lists, where they change.
        by_hand: sentences on what no manifest can do.
        values: of each knob that has a unit, with it: "101MiB".
        cpu_limit_cores: the CPU limit, where that is the knob.
    """

    container: Container
    env: dict[str, str] = field(default_factory=dict)
    command: list[str] | None = None
    args: list[str] | None = None
    by_hand: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    cpu_limit_cores: float | None = None

    def add(self, knob: Knob, value: Value) -> None:
        """Adds a knob: on the command line where it stands there, else in its variable, else by hand."""
        text = str(plain(value))
        how = knob.entry.set
        if how.resource == "cpu_limit":
            self.cpu_limit_cores = float(value)
            return
        self.values |= _values_with_unit(knob, value)
        option = None if how.option is None else how.option.replace("{value}", text)
        if self._in_arguments(knob, option, text):
            return
        place = None if how.env is None else self.container.env_elsewhere.get(how.env)
        if place is not None:
            self.by_hand.append(f"Set {how.env} of {self.container.name} to {option or text} in {place}.")
        elif how.env is not None and option is None:
            self.env[how.env] = text
        elif how.env is not None and option is not None and self._conceals(how.env):
            self._add_by_hand(how.env, option)
        elif how.env is not None and option is not None and self.container.env is not None:
            self.env[how.env] = self._merged(knob, how.env, option)
        elif how.env is not None:
            self._add_by_hand(how.env, str(option))
        elif how.by_hand is not None:
            self.by_hand.append(how.by_hand.replace("{value}", text))
        elif how.flags:
            self.by_hand.append(f"Start {self.container.name} with {how.flags[0]} {text}.")

    def _conceals(self, variable: str) -> bool:
        return CONCEALED in (self.container.env or {}).get(variable, "")

    def _add_by_hand(self, variable: str, option: str) -> None:
        self.by_hand.append(f"Add {option} to {variable} of {self.container.name}, whatever else is in it.")

    def to_map(self) -> dict[str, object]:
        """Returns what is to change as plain data; what stays is absent."""
        parts = {
            "env": self.env,
            "command": self.command,
            "args": self.args,
            "by_hand": self.by_hand,
            "values": self.values,
        }
        return {name: part for name, part in parts.items() if part}

    def _merged(self, knob: Knob, variable: str, option: str) -> str:
        before = self.env.get(variable, (self.container.env or {}).get(variable, ""))
        rest = before if knob.removes is None else knob.removes.sub("", before)
        return " ".join((*rest.split(), option))

    def _in_arguments(self, knob: Knob, option: str | None, text: str) -> bool:
        """Changes the command line where the knob stands there; it goes before variables."""
        for part in ("args", "command"):
            now = getattr(self, part) or list(getattr(self.container, part) or ())
            changed = (
                _options_replaced(now, knob.removes, option)
                if option is not None and knob.removes is not None
                else _flags_replaced(now, knob.entry.set.flags, text)
            )
            if changed is None:
                continue
            if any(CONCEALED in argument for argument in changed):
                option_text = option or f"{knob.entry.set.flags[0]} {text}"
                self.by_hand.append(f"Change the {part} of {self.container.name} to {option_text}.")
            else:
                setattr(self, part, changed)
            return True
        return False


def _values_with_unit(knob: Knob, value: Value) -> dict[str, str]:
    text = with_unit(knob, value)
    return {} if text == str(plain(value)) else {knob.name: text}


def _options_replaced(args: list[str], removes: re.Pattern[str], option: str) -> list[str] | None:
    """Replaces options that stand alone ("-Xmx1g") or within a shell's line; None where there is none."""
    changed, is_present = [], False
    for argument in args:
        if removes.fullmatch(argument):
            changed += [] if is_present else [option]
        elif " " in argument and removes.search(argument):
            changed.append(removes.sub("" if is_present else option.replace("\\", r"\\"), argument, count=1))
        else:
            changed.append(argument)
            continue
        is_present = True
    return changed if is_present else None


def _flags_replaced(args: list[str], flags: tuple[str, ...], text: str) -> list[str] | None:
    """Replaces `--flag value`, `--flag=value` and both within a shell's line; None where there is none."""
    for number, argument in enumerate(args):
        for flag in flags:
            if argument == flag and number + 1 < len(args):
                return [*args[: number + 1], text, *args[number + 2 :]]
            if argument.startswith(f"{flag}="):
                return [*args[:number], f"{flag}={text}", *args[number + 1 :]]
            pattern = rf"(?<!\S)({re.escape(flag)}[ =])\S+"
            if " " in argument and re.search(pattern, argument):
                line = re.sub(pattern, lambda match: match[1] + shlex.quote(text), argument, count=1)
                return [*args[:number], line, *args[number + 1 :]]
    return None
