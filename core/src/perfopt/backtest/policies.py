"""Which policies there are, by the names that a user gives."""

from collections.abc import Sequence

from perfopt.errors import NotFoundError
from perfopt.evaluation.baselines import BASELINES

OURS = "perfopt"


def choose_policies(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the policies named, each once, in the order of the table; all where none is named.

    Raises:
        NotFoundError: a name is no policy; lists them.
    """
    known = (OURS, *BASELINES)
    for name in names:
        if name not in known:
            raise NotFoundError(
                f"There is no policy {name!r}.",
                field="policy",
                remedy=f"Known: {', '.join(known)}.",
                candidates=known,
            )
    return tuple(name for name in known if not names or name in names)


def about(policy: str) -> str:
    """Returns one line on what a policy does."""
    if policy in BASELINES:
        return BASELINES[policy].about
    return "The installed strategies of perfopt, with the engine's rules"
