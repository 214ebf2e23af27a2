"""The pages for users (tutorial, how-to, reference, explanation) and the decisions stay short."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
SECTIONS = ("tutorial", "how-to", "reference", "explanation")
WORD = re.compile(r"[^\W_]")  # the bars of tables are no words
GENERATED = ("configuration.md", "plugin-api.md", "problems.md")  # as long as what they list
BUDGET = 16_600  # 3,000 of them on a cluster: installing, alerts, security, faults, applying changes
DECISION = 200


def words(path: Path) -> int:
    return sum(WORD.search(token) is not None for token in path.read_text("utf-8").split())


def test_pages_for_users_stay_within_their_budget() -> None:
    written = (path for name in SECTIONS for path in (DOCS / name).rglob("*.md"))
    pages = {path: words(path) for path in written if path.name not in GENERATED}
    longest = sorted(pages, key=lambda path: -pages[path])[:5]
    shown = ", ".join(f"{path.relative_to(DOCS)} {pages[path]}" for path in longest)
    total = sum(pages.values())
    assert total <= BUDGET, (
        f"The pages for users have {total} words, {total - BUDGET} over the budget. Shorten yours: "
        f"one home for a fact, links elsewhere, how it was found in docs/research. Longest: {shown}."
    )


def test_decisions_stay_short() -> None:
    long = {path.name: words(path) for path in (DOCS / "adr").glob("*.md") if words(path) > DECISION}
    assert not long, f"Decisions have at most {DECISION} words: context, decision, consequences."
