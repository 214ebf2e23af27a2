"""What holds for all that a plugin brings: the attributes of its protocol, and a name of its own."""

import pickle
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

_NAME = re.compile(r"[a-z0-9_-]+")


class ContributionError(Exception):
    """A plugin brought something that is wrong; the message is one sentence for its author."""


@dataclass(frozen=True, slots=True)
class ContributionCheck[T]:
    """What objects of one protocol must be like.

    Attributes:
        noun, plural: what they are called.
        name: attribute that tells those of a plugin apart.
        attributes: that they have.
        own_problem: what else is wrong with one, given how to call it; None where nothing is.
    """

    noun: str
    plural: str
    name: str
    attributes: tuple[str, ...]
    own_problem: Callable[[Any, str], str | None]

    def problem(self, brought: Any) -> str | None:
        """Returns one sentence on how an object breaks the protocol, or None."""
        label = f"The {self.noun} {getattr(brought, self.name, type(brought).__name__)!r}"
        missing = [attribute for attribute in self.attributes if not hasattr(brought, attribute)]
        if missing:
            return f"{label} lacks {', '.join(missing)}."
        name = getattr(brought, self.name)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return f"{label} has a name that is not of the form [a-z0-9_-]+."
        return self.own_problem(brought, label)

    def checked(self, brought: Iterable[Any]) -> tuple[T, ...]:
        """Returns those of one plugin, sorted by name.

        Raises:
            ContributionError: one of them breaks the protocol, or two have the same name.
        """
        checked: dict[str, T] = {}
        for one in brought:
            problem = self.problem(one)
            if problem is not None:
                raise ContributionError(problem)
            name = getattr(one, self.name)
            if name in checked:
                raise ContributionError(f"It brings two {self.plural} named {name!r}.")
            checked[name] = one
        return tuple(checked[name] for name in sorted(checked))


def pickle_problem(brought: object, label: str) -> str | None:
    """Returns one sentence on why an object can't go to another process, or None."""
    try:
        pickle.loads(pickle.dumps(brought))  # noqa: S301  bytes of this process
    except Exception as error:
        return f"{label} can't be pickled: {error}"
    return None
