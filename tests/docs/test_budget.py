"""The pages for users (tutorial, how-to, reference, explanation) and the decisions stay short."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
SECTIONS = ("tutorial", "how-to", "reference", "explanation")
WORD = re.compile(r"[^\W_]")  # the bars of tables are no words
BUDGET = 18_000  # 1,500 of them on applying changes and its policy, 250 on the dashboard
DECISION = 200
CLUSTER = (
    3_000  # installing on a cluster, its alerts, scaling, security, faults; further pages of the dashboard
)


def words(path: Path) -> int:
    return sum(WORD.search(token) is not None for token in path.read_text("utf-8").split())


def test_pages_for_users_stay_within_their_budget() -> None:
    pages = {path: words(path) for name in SECTIONS for path in (DOCS / name).rglob("*.md")}
    longest = sorted(pages, key=lambda path: -pages[path])[:5]
    shown = ", ".join(f"{path.relative_to(DOCS)} {pages[path]}" for path in longest)
    total = sum(pages.values())
    assert total <= BUDGET + CLUSTER, (
        f"The pages for users have {total} words, {total - BUDGET - CLUSTER} over the budget. Shorten yours: "
        f"one home for a fact, links elsewhere, how it was found in docs/research. Longest: {shown}."
    )


def test_decisions_stay_short() -> None:
    long = {path.name: words(path) for path in (DOCS / "adr").glob("*.md") if words(path) > DECISION}
    assert not long, f"Decisions have at most {DECISION} words: context, decision, consequences."
