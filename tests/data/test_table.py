"""Tables line by line: what is understood, what is told, and that one line spoils no other."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from echoflow.data.findings import Flaw
from echoflow.data.table import Row, as_number, read_table
from echoflow.types import InputError, Split, View


def row(cells: dict[str, str], surplus: int = 0) -> Row:
    return Row(Path("set/t.csv"), 7, cells, surplus)


def read(root: Path, data: bytes, required: tuple[str, ...] = ("A",)) -> list[tuple[int, dict]]:
    (root / "t.csv").write_bytes(data)
    return [(r.line, dict(r.cells)) for r in read_table(root, "t.csv", required)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends(tmp_path, end):
    data = end.join((b"A,B", b"1,2", b"", b",", b"3,4"))
    assert read(tmp_path, data) == [(2, {"A": "1", "B": "2"}), (5, {"A": "3", "B": "4"})]


def test_a_stray_quotation_mark_spoils_its_line_only(tmp_path):
    rows = read(tmp_path, b'A,B\n"1,2\n"x, y",4\n5,"6\n7,8\n')
    assert [line for line, _ in rows] == [2, 3, 4, 5]
    assert rows[1][1] == {"A": "x, y", "B": "4"}
    assert rows[3][1] == {"A": "7", "B": "8"}


def test_short_and_long_lines(tmp_path):
    (tmp_path / "t.csv").write_text("A,B,C\n1\n1,2,3,,\n1,2,3,4\n")
    short, empty, long = read_table(tmp_path, "t.csv", ())
    assert dict(short.cells) == {"A": "1", "B": "", "C": ""}
    assert (short.surplus, empty.surplus, long.surplus) == (0, 0, 1)
    with pytest.raises(Flaw, match=r"t.csv, line 4: it has 4 cells, the header 3") as caught:
        long.text("A")
    assert caught.value.kind == "bad-cell"


def test_bytes_that_are_no_text_spoil_their_cell_only(tmp_path):
    assert read(tmp_path, b"A\n\xff\xfe\nb\n") == [(2, {"A": "\ufffd\ufffd"}), (3, {"A": "b"})]


def test_what_is_odd_about_the_file_is_told(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf A ,B\r\n1,2\r\n")
    table = read_table(tmp_path, "t.csv", ("A", "B"))
    assert table.header == ("A", "B")
    kinds = [(f.kind, f.path, f.excluded) for f in table.findings]
    assert kinds == [(k, "t.csv", None) for k in ("byte-order-mark", "line-ends", "spaces")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "lacks the column A; it has"),
        (b"B,C\n1,2\n", "lacks the column A; it has B, C"),
        (b"A,A\n1,2\n", "has the column A twice"),
        (b"\xff\xfeA\x00\n\x00", "not a CSV table in UTF-8"),
    ],
)
def test_what_is_no_such_table(tmp_path, data, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, data)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"there is no t.csv in .*; is it a dataset folder"):
        read_table(tmp_path, "t.csv", ())
    with pytest.raises(InputError, match="leads out of"):
        read_table(tmp_path, "../t.csv", ())


NUMBERS = {
    "": "X is empty; fill it in",
    "a": "X must be a number of at least 2; got 'a'",
    "nan": "got 'nan'",
    "inf": "got 'inf'",
    "1_0": "got '1_0'",
    "1.5": "got '1.5'",
    "2.5": "X must be a whole number; got 2.5",
}


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_that_are_none(text):
    with pytest.raises(Flaw) as caught:
        row({"X": text}).whole("X", 2)
    assert caught.value.kind == "bad-cell"
    assert NUMBERS[text] in caught.value.detail
    assert str(caught.value) == f"set/t.csv, {caught.value.detail}"


def test_numbers():
    one = row({"X": " 112.0 ", "Y": "-1e-3", "Z": " "})
    assert (one.whole("X", 1), one.number("Y")) == (112, -0.001)
    assert (one.maybe_number("Z"), one.maybe_number("W"), one.maybe("X")) == (None, None, "112.0")
    assert as_number(" 5e1 ") == 50
    assert math.isnan(as_number("1_0"))


def test_labels():
    assert row({"EF": "55.5"}).ef() == 55.5
    assert row({"EF": ""}).ef() is None
    assert row({"EDV": "90", "ESV": "40"}).volumes() == (90, 40)
    assert row({"EDV": "0", "ESV": "0"}).volumes() == (0, 0)
    assert row({"EDV": "90"}).volumes() == (90, None)
    assert row({"View": "plax"}).view() is View.PLAX
    assert row({"View": "other"}).view() is View.OTHER
    assert row({}).view() is View.A4C
    assert (row({"Split": "Val"}).split(), row({}).split()) == (Split.VAL, Split.TRAIN)


@pytest.mark.parametrize(
    ("read", "kind", "message"),
    [
        (lambda: row({"EF": "0.55"}).ef(), "bad-ef", "Multiply a fraction by 100"),
        (lambda: row({"EF": "-1"}).ef(), "bad-ef", "percentage in"),
        (lambda: row({"EDV": "40", "ESV": "90"}).volumes(), "bad-ef", "90 mL is more than EDV 40"),
        (lambda: row({"EDV": "x"}).volumes(), "bad-cell", "EDV must be a number of at least 0"),
        (lambda: row({"View": "A5C"}).view(), "bad-view", "Did you mean A4C"),
        (lambda: row({"Split": "9"}).split(), "bad-split", "unknown split '9'"),
        (lambda: row({"Split": " "}).split(None), "bad-split", "Split is empty"),
    ],
)
def test_labels_that_cannot_be(read, kind, message):
    with pytest.raises(Flaw) as caught:
        read()
    assert caught.value.kind == kind
    assert message in caught.value.detail
    assert caught.value.detail.startswith("line 7: ")
