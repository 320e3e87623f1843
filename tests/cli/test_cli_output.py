"""Tables: their widths on a terminal, what is cut, and when a pager shows them."""

from __future__ import annotations

import io
import os
import shutil
import sys

import click
import pytest

from djoauth2_twisted.cli.output import counted, first_of, print_fields, print_table, table

TITLES = ("ID", "NAME", "NOTE")


def test_an_east_asian_letter_has_two_columns() -> None:
    assert table(("NAME", "NEXT"), [("日本", "x"), ("ab", "y")]) == ["NAME  NEXT", "日本  x", "ab    y"]


def test_an_accent_of_its_own_has_no_column() -> None:
    assert table(("N", "NEXT"), [("e\u0301e\u0301", "x")]) == ["N   NEXT", "e\u0301e\u0301  x"]


def test_a_line_fits_the_terminal_and_the_widest_column_is_cut() -> None:
    rows = [("an-id-of-20-letters-", "name", "n" * 100), ("b", "日" * 50, "short")]
    lines = table(TITLES, rows, flexible=("NAME", "NOTE"), columns=60)
    assert lines == [
        "ID                    NAME                NOTE",
        "an-id-of-20-letters-  name                nnnnnnnnnnnnnnn...",
        "b                     日日日日日日日 ...  short",
    ]


def test_what_must_be_whole_is_never_cut() -> None:
    rows = [("i" * 50, "n" * 50, "x" * 50)]
    lines = table(TITLES, rows, flexible=("NOTE",), columns=20)
    assert lines[1] == f"{'i' * 50}  {'n' * 50}  xxxxxxxxx..."


def test_without_a_terminal_nothing_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A",), [("x" * 500,)], flexible=("A",))
    assert capsys.readouterr().out == f"A\n{'x' * 500}\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def print_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """From now on, output goes to a terminal of 40 columns and 10 lines."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((40, 10)))
    return screen


def test_a_table_of_one_screen_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = print_to_a_terminal(monkeypatch)
    print_table(("A", "B"), [("x", "y" * 100)] * 8, flexible=("B",))
    lines = terminal.getvalue().splitlines()
    assert lines[:2] == ["A  B", f"x  {'y' * 34}..."]
    assert len(lines) == 9


def test_a_longer_table_is_shown_in_a_pager(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = print_to_a_terminal(monkeypatch)
    paged: list[str] = []
    monkeypatch.setattr(click, "echo_via_pager", paged.append)
    print_table(("A",), [("x",)] * 10)
    assert paged == ["A" + "\nx" * 10]
    assert terminal.getvalue() == ""


def test_of_ten_addresses_the_first_is_listed() -> None:
    assert first_of([f"https://{number}.example/" for number in range(10)]) == "https://0.example/ +9"
    assert first_of(["https://a.example/"]) == "https://a.example/"
    assert first_of([]) == ""


def test_a_list_of_values_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"name": "x", "addresses": ("a", "b"), "none": ()})
    assert capsys.readouterr().out == "name       x\naddresses  a\n           b\nnone\n"


def test_a_number_and_its_noun() -> None:
    assert [counted(number, "grant") for number in (0, 1, 2)] == ["0 grants", "1 grant", "2 grants"]
