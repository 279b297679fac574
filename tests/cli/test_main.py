"""Exit codes and messages of the command, through the real entry point."""

import errno
import subprocess
import sys

import pytest

from echoflow import __version__
from echoflow.cli import main
from echoflow.cli.failures import explain
from echoflow.types import InputError

VERBS = (
    "quickstart",
    "synthesise",
    "animate",
    "evaluate",
    "phantom",
    "encode",
    "train",
    "models",
    "import",
    "export",
    "data",
)


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {verb} " in listed for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"echoflow {verb}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"echoflow {__version__}\n"


def test_unknown_verb_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["animat"]) == 2
    assert "animate" in capsys.readouterr().err


def test_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -m echoflow --help | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (InputError("ef is\nwrong."), "ef is wrong."),
        (MemoryError(), "memory"),
        (
            OSError(errno.ENOSPC, "No space left on device", "out/a.avi"),
            "disk is full at out/a.avi",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/out"), "no permission"),
        (FileNotFoundError(errno.ENOENT, "No such file", "in.avi"), "in.avi does not exist"),
    ],
)
def test_failures_that_a_user_can_mend(error: Exception, says: str) -> None:
    assert says in str(explain(error))


@pytest.mark.parametrize("bug", [ValueError("x"), OSError(errno.EIO, "I/O error"), KeyError("x")])
def test_bugs_are_not_dressed_up(bug: Exception) -> None:
    assert explain(bug) is None
