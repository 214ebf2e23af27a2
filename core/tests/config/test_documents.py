"""YAML that would end the process that reads it is refused."""

import pytest

from perfopt.config.documents import MAX_DEPTH, parse_yaml
from perfopt.errors import InvalidInputError

BOMB = "a0: &a0 [x]\n" + "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))


@pytest.mark.parametrize(
    "text",
    [BOMB, "a: " + "[" * 30_000, "a: " + "{b: " * 30_000, "a: &a\n  b: *a", "- - - " * 10_000],
    ids=["aliases of aliases", "lists", "mappings", "alias of itself", "dashes"],
)
def test_what_would_exhaust_stack_or_memory_is_refused(text):
    with pytest.raises(InvalidInputError, match=r"The rule pack p\.yaml is nested over 100 deep"):
        parse_yaml(text, "p.yaml", what="rule pack")


def test_plain_aliases_and_nesting_are_read():
    document = parse_yaml("base: &b {cpu: 1}\nmine: *b\nother: {<<: *b}", "c.yaml", what="configuration")
    assert document.data["mine"] == document.data["other"] == {"cpu": 1}
    deepest = MAX_DEPTH - 2
    read = parse_yaml("a: " + "[" * deepest + "]" * deepest, "c.yaml", what="configuration")
    assert read.lines[("a",)] == 1
