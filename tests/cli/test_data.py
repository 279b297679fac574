"""`echoflow data check`, through the real entry point."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_datasets import dynamic, row

from echoflow.cli import main

ROWS = (row("0XA"), row("0XB", "VAL"), row("0XC", "TEST"))


def test_a_sound_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = dynamic(tmp_path / "set", ROWS), tmp_path / "out"
    assert main(["data", "check", str(root), "--decode", "--out", str(out)]) == 0
    page = capsys.readouterr().out
    assert "echonet-dynamic: 3 videos found = 3 that can be used + 0 left out" in page
    assert "decoded   15 frames of 3 videos" in page
    assert f"written to {out}" in page
    assert {p.name for p in out.iterdir()} == {"summary.json", "findings.csv", "ef.png"}


def test_what_can_be_read_around_is_told_and_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = dynamic(tmp_path, (row("0XA.avi"), *ROWS[1:]))
    assert main(["data", "check", str(root)]) == 0
    assert "line 2: the name 0XA has a suffix" in capsys.readouterr().out


def test_a_video_that_is_left_out_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = dynamic(tmp_path, ROWS)
    (root / "Videos/0XB.avi").write_bytes(b"")
    assert main(["data", "check", str(root), "--splits", "echoflow"]) == 1
    shown = capsys.readouterr()
    assert "Videos/0XB.avi has no bytes; copy it again." in shown.out
    assert shown.err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "there is no folder nowhere"),
        ([".", "--source", "echonet-dynamc"], "Did you mean echonet-dynamic"),
        ([".", "--splits", "freecho"], "Did you mean freeecho"),
        ([".", "--workers", "0"], "--workers"),
        ([], "argument 'root'"),
    ],
)
def test_refusals(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(dynamic(tmp_path, ROWS))
    assert main(["data", "check", *words]) == 2
    assert message in capsys.readouterr().err


def test_training_says_what_it_does_not_get(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = dynamic(tmp_path / "set", ROWS, videos="")
    assert main(["train", "nano-avae", f"data={root}", "--out", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err
    assert "3 of 3 videos are left out (missing-video 3)" in shown


def test_the_group_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--help"]) == 0
    assert "check" in capsys.readouterr().out
    assert main(["data", "check", "--help"]) == 0
    assert "exit code" in " ".join(capsys.readouterr().out.split())
