"""Damage to files, drawn from a seed: bytes, cells of tables, and what stands in a file's place."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

Damage = Callable[[bytes, Random], bytes]

HEADER = 512  # most of what a parser believes stands in the first bytes
EXTREMES = (0, 1, -1, 2, 7, 127, 128, 255, 256, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1)
CELLS = (
    "", " ", "nan", "inf", "-inf", "1e309", "-1", "0", "0.55", "1e18", "9" * 30, "0x10", "1,5",
    "٥", "½", "None", "NULL", "No Systolic", "no diastolic", "TRUE", "train", "9", "-0", "1_000",
    "../../../../etc/passwd", "/etc/passwd", "..", ".", "a/../../b", "C:\\Windows\\win.ini",
    "\\\\host\\share", "~", "${HOME}", "%s%n", "=1+1", '"', "a\tb", "\0", "é", "🫀", "x" * 300,
    "y" * 5000, "112.0", "+5", "--5", "1e2", "con", "-", "concat:a|b", "file:///etc/passwd",
)  # fmt: skip


# ---- bytes --------------------------------------------------------------------------------------


def flipped(data: bytes, rng: Random) -> bytes:
    """A few bits."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 2, 4, 16, 64))):
        place = _place(out, rng)
        out[place] ^= 1 << rng.randrange(8)
    return bytes(out)


def number(data: bytes, rng: Random) -> bytes:
    """A whole number of the file replaced by an extreme one, in either byte order."""
    out = bytearray(data)
    code, order = rng.choice("bhiq"), rng.choice("<>")
    size = struct.calcsize(code)
    place = min(_place(out, rng), max(0, len(out) - size))
    value = rng.choice(EXTREMES) & (2 ** (8 * size) - 1)
    out[place : place + size] = struct.pack(order + code.upper(), value)
    return bytes(out)


def cut(data: bytes, rng: Random) -> bytes:
    """The file ends early."""
    return data[: _place(data, rng)]


def lost(data: bytes, rng: Random) -> bytes:
    """A piece is missing."""
    place = _place(data, rng)
    return data[:place] + data[place + rng.choice((1, 2, 16, 512)) :]


def doubled(data: bytes, rng: Random) -> bytes:
    """A piece stands there twice, or many times."""
    place = _place(data, rng)
    piece = data[place : place + rng.choice((1, 4, 64, 1024))]
    return data[:place] + piece * rng.choice((2, 3, 50)) + data[place:]


def noisy(data: bytes, rng: Random) -> bytes:
    """A piece is noise, or zeros."""
    place, size = _place(data, rng), rng.choice((1, 8, 64, 4096))
    piece = rng.randbytes(size) if rng.random() < 0.5 else bytes(size)
    return data[:place] + piece[: len(data) - place] + data[place + size :]


def grown(data: bytes, rng: Random) -> bytes:
    """Something is put in between, or after the end."""
    place = rng.choice((_place(data, rng), len(data)))
    return data[:place] + rng.randbytes(rng.choice((1, 3, 100, 5000))) + data[place:]


def replaced(data: bytes, rng: Random) -> bytes:
    """Another kind of file altogether."""
    others = (
        b"",
        b"\0" * 4096,
        rng.randbytes(2000),
        b"<html><body>404</body></html>",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        b"\x1f\x8b\x08\x00" + rng.randbytes(50),
        b"PK\x03\x04" + rng.randbytes(50),
        b"\x80\x04\x95" + data[:40],
        data[::-1],
    )
    return rng.choice(others)


BYTES: tuple[Damage, ...] = (
    flipped, flipped, number, number, number, cut, lost, doubled, noisy, grown, replaced,
)  # fmt: skip


def _place(data: Sequence[int], rng: Random) -> int:
    """A place in the file, in its first bytes half of the time."""
    if not len(data):
        return 0
    end = HEADER if rng.random() < 0.5 else len(data)
    return rng.randrange(min(end, len(data)))


# ---- tables -------------------------------------------------------------------------------------


def cell(data: bytes, rng: Random) -> bytes:
    """One cell, or one column, is something else."""
    rows = _rows(data)
    column = rng.randrange(max(1, len(rows[0])))
    chosen = rows[1:] if rng.random() < 0.2 else [rng.choice(rows)]
    value = rng.choice(CELLS)
    for row in chosen:
        if column < len(row):
            row[column] = value
    return _table(rows)


def row(data: bytes, rng: Random) -> bytes:
    """A row is gone, there twice, elsewhere, too short or too long."""
    rows = _rows(data)
    place = rng.randrange(len(rows))
    how = rng.randrange(5)
    if how == 0:
        del rows[place]
    elif how == 1:
        rows.insert(rng.randrange(len(rows)), list(rows[place]))
    elif how == 2:
        rng.shuffle(rows)
    elif how == 3:
        rows[place] = rows[place][: rng.randrange(len(rows[place]) + 1)]
    else:
        rows[place] += [rng.choice(CELLS)] * rng.choice((1, 2, 1000))
    return _table(rows)


def column(data: bytes, rng: Random) -> bytes:
    """A column is gone, there twice, or has another name."""
    rows = _rows(data)
    place = rng.randrange(max(1, len(rows[0])))
    how = rng.randrange(3)
    for number, one in enumerate(rows):
        if place >= len(one):
            continue
        if how == 0:
            del one[place]
        elif how == 1:
            one.append(one[place])
        elif number == 0:
            one[place] = rng.choice((one[place].lower(), f" {one[place]} ", *CELLS))
    return _table(rows)


def spelling(data: bytes, rng: Random) -> bytes:
    """Another encoding, other line ends, another separator, quotation marks."""
    text = data.decode("utf-8", "replace")
    ways = (
        lambda: text.encode("utf-16"),
        lambda: b"\xef\xbb\xbf" + data,
        lambda: text.replace("0X", "0Xé").encode("latin-1", "replace"),
        lambda: data.replace(b"\n", b"\r\n"),
        lambda: data.replace(b"\n", b"\r"),
        lambda: data.replace(b",", b";"),
        lambda: data.replace(b",", b"\t"),
        lambda: data.replace(b",", b', "', 3),
        lambda: data.replace(b"\n", b"\n\n"),
        lambda: data.replace(b"0", b"\0", 5),
        lambda: data.rstrip(b"\n"),
        lambda: data * rng.choice((2, 20)),
    )
    return rng.choice(ways)()


TABLES: tuple[Damage, ...] = (cell, cell, cell, row, row, column, spelling, flipped, cut, replaced)


def _rows(data: bytes) -> list[list[str]]:
    lines = data.decode("utf-8", "replace").split("\n")
    return [line.split(",") for line in lines] or [[""]]


def _table(rows: Sequence[Sequence[str]]) -> bytes:
    return "\n".join(",".join(cells) for cells in rows).encode("utf-8", "replace")


# ---- files --------------------------------------------------------------------------------------


def damaged(data: bytes, kinds: Sequence[Damage], rng: Random) -> bytes:
    """One to three damages, one upon the other."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(kinds)(data, rng) if data else data
    return data


PLACES = ("gone", "folder", "link out", "link to itself", "dead link", "pipe", "odd name")
ODD_NAMES = (b"\xff\xfe", b"a\nb", b" ", b"%s", "é".encode(), b"-x", b"concat:a|b")


def misplaced(path: Path, outside: Path, places: Sequence[str], rng: Random) -> None:
    """Puts one of `places` where a file was; `outside` is a file beyond the dataset's folder."""
    data = path.read_bytes()
    path.unlink()
    how = rng.choice(places)
    if how == "folder":
        path.mkdir()
    elif how == "link out":
        path.symlink_to(outside)
    elif how == "link to itself":
        path.symlink_to(path)
    elif how == "dead link":
        path.symlink_to(path.parent / "nothing")
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "odd name":
        name = os.fsdecode(rng.choice(ODD_NAMES)) + path.suffix
        (path.parent / name).write_bytes(data)
