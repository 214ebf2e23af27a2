"""Tables fit the width they are printed in, and nothing is lost."""

import pytest

from perfopt.cli.output.render import paragraph, table

HEADER = ("TYPE", "POLICY", "ACCURACY (95 %)", "CPU WASTE", "REALISED SAVING", "NOTES")
ROWS = [
    (
        "RESOURCE",
        "resource/resource",
        "91.2% (85%-95%)",
        "37% / 35%",
        "61% / 64% / 70%",
        "a long note on this",
    ),
    ("SCALING", "hpa-70+yesterday", "-", "-", "-", ""),
]


@pytest.mark.parametrize("columns", ["60", "80", "100"])
def test_a_table_fits_the_columns_and_keeps_every_word(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    shown = table(HEADER, ROWS, right=HEADER[2:], keys=2)
    assert max(map(len, shown.splitlines())) <= int(columns)
    words = shown.split()
    assert all(word in words for row in (HEADER, *ROWS) for cell in row for word in cell.split())
    assert "37% / 35%" in shown


def test_further_tables_begin_with_what_their_rows_are_of(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    tables = table(HEADER, ROWS, keys=2).split("\n\n")
    assert len(tables) > 1
    for one in tables:
        assert one.startswith("TYPE      POLICY") or "\nTYPE      POLICY" in one
        assert "\nRESOURCE  resource/resource" in one
        assert "\nSCALING   hpa-70+yesterday" in one


def test_the_widest_text_is_wrapped_before_columns_move_to_another_table(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    shown = table(
        ("NAME", "STATE", "PARAMETERS"), [("step-limits", "on", "largest_fall=0.5, largest_rise=1")]
    )
    assert shown == (
        "NAME         STATE  PARAMETERS\n"
        "step-limits  on     largest_fall=0.5,\n"
        "                    largest_rise=1\n"
    )


def test_without_columns_a_pipe_gets_one_line_a_row(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert len(table(HEADER, ROWS, keys=2).splitlines()) == 3
    assert "\n" not in paragraph("word " * 40)


def test_a_word_wider_than_all_columns_is_folded(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    shown = table(("NAME", "ERROR"), [("a", "x" * 60)])
    assert max(map(len, shown.splitlines())) <= 40
    assert shown.count("x") == 60


def test_a_table_without_rows_is_its_header():
    assert table(("NAME", "STATE"), []) == "NAME  STATE\n"
