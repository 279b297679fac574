"""What a user can get wrong: one sentence that says what, what is allowed and what to do.

Every case goes through the real entry point and must leave nothing behind.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from echoflow.cli import main
from echoflow.data.video import encode as encode_video
from echoflow.networks.zoo import WEIGHTS

GREY = np.full((4, 16, 16), 90, np.uint8)


def _film(folder: Path) -> Path:
    path = folder / "film.avi"
    path.write_bytes(encode_video(GREY, 20, ".avi"))
    return path


def _text(folder: Path) -> Path:
    path = folder / "notes.avi"
    path.write_text("this is no video")
    return path


def _truncated(folder: Path) -> Path:
    path = folder / "cut.avi"
    data = encode_video(
        np.random.default_rng(0).integers(0, 255, (30, 64, 64), np.uint8), 20, ".avi"
    )
    path.write_bytes(data[: len(data) // 2])
    return path


def _wide_mask(folder: Path) -> Path:
    return _image(folder / "wide.png", np.full((112, 90), 255, np.uint8))


def _grey_mask(folder: Path) -> Path:
    return _image(folder / "grey.png", np.arange(112 * 112, dtype=np.uint8).reshape(112, 112))


def _image(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def _empty(folder: Path) -> Path:
    import av

    path = folder / "empty.avi"
    with av.open(path, "w") as container:
        stream = container.add_stream("mjpeg", rate=20)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuvj420p"
        container.start_encoding()
    return path


def _taken(folder: Path) -> Path:
    path = folder / "taken"
    path.mkdir()
    (path / "precious.txt").write_text("mine")
    return path


def _listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


Case = tuple[list[str | Callable[[Path], Path]], str]
CASES: dict[str, Case] = {
    "ef as a fraction": (["animate", _film, "--ef", "0.55"], "Multiply a fraction by 100"),
    "ef too large": (["animate", _film, "--ef", "140"], "percentage in [0, 100]; got 140"),
    "ef not finite": (["animate", _film, "--ef", "nan"], "percentage in [0, 100]"),
    "ef no number": (["animate", _film, "--ef", "high"], "--ef"),
    "ef range": (["synthesise", "--out", "new", "--ef", "0.1:0.7"], "Multiply a fraction by 100"),
    "view": (["synthesise", "--out", "new", "--view", "A5C"], "Did you mean A4C"),
    "phantom view": (["phantom", "--out", "new", "--view", "PLX"], "Did you mean PLAX"),
    "cohort": (["phantom", "--out", "new", "--cohort", "dilatd"], "Did you mean dilated"),
    "count": (["phantom", "--out", "new", "--n", "0"], "--n"),
    "suffix": (["animate", _film, "--ef", "40", "--out", "clip.mov"], "choose one of .avi, .mp4"),
    "no video": (["animate", _text, "--ef", "40"], "not a video that can be read"),
    "truncated video": (["animate", _truncated, "--ef", "40"], "damaged or truncated"),
    "no frames": (["animate", _empty, "--ef", "40"], "holds no frames"),
    "no file": (["animate", "absent.avi", "--ef", "40"], "there is no file absent.avi"),
    "weights": (["animate", _film, "--ef", "40", "--weights", "nana"], "there are no weights nana"),
    "foreign weights": (["animate", _film, "--ef", "40", "--weights", "."], "is not a bundle"),
    "inference": (["animate", _film, "--ef", "40", "--inference", "fp8"], "exact, bf16, compiled"),
    "device": (["animate", _film, "--ef", "40", "--device", "gpu"], "choose one of cpu"),
    "mask shape": (["synthesise", "--out", "new", "--mask", _wide_mask], "must be 112x112 pixels"),
    "mask values": (["synthesise", "--out", "new", "--mask", _grey_mask], "Threshold it first"),
    "steps": (["animate", _film, "--ef", "40", "--steps", "0"], "--steps"),
    "start": (
        ["animate", _film, "--ef", "40", "--steps", "4", "--start", "4"],
        "start_index must be in [0, 3]",
    ),
    "heart rate": (["animate", _film, "--ef", "40", "--heart-rate", "500"], "heart rate must be"),
    "no such frame": (["animate", _film, "--ef", "40", "--frame", "4"], "has 4 frames"),
    "taken folder": (["phantom", "--out", _taken, "--n", "1"], "is not empty"),
    "folder under a file": (["phantom", "--out", "plain/new"], "cannot write plain/new"),
    "no recipe": (["train", "engine.steps=1"], "train alone lists the names"),
    "recipe": (["train", "nano-lif"], "Did you mean nano-lifm"),
    "setting": (["train", "nano-lifm", "engine.lrr=1"], "Did you mean lr"),
    "value": (["train", "nano-lifm", "engine.lr=fast"], "engine.lr"),
    "recipe file": (["train", "--config", "plain"], "plain must hold settings"),
    "recipe folder": (["train", "--config", "."], ". is a folder; give a file"),
    "recipe under a file": (["train", "--config", "plain/x"], "is no path that a file can have"),
    "value of no kind": (["train", "nano-lifm", "engine.lr=[1"], "value that cannot be read"),
    "setting of nano": (["train", "nano", "lvfm"], "begins with its stage, such as lvfm."),
    "seed": (["evaluate", "scores", "plain", "--seed", "-1"], "--seed"),
    "calibrate nano": (["calibrate", "nano"], "nano is no folder"),
    "no dataset": (["evaluate", "nowhere"], "nowhere"),
    "unknown option": (["phantom", "--outt", "new"], "--outt"),
}


@pytest.mark.parametrize("name", CASES)
def test_refusals(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words, says = CASES[name]
    (tmp_path / "plain").write_text("a file")
    argv = [word if isinstance(word, str) else str(word(tmp_path)) for word in words]
    monkeypatch.chdir(tmp_path)
    before = _listing(tmp_path)
    assert main(argv) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert _listing(tmp_path) == before


def _remove_weights(stage: Path) -> None:
    (stage / WEIGHTS).unlink()


def _cut_weights(stage: Path) -> None:
    data = (stage / WEIGHTS).read_bytes()
    (stage / WEIGHTS).write_bytes(data[: len(data) // 2])


def _swap_weights(stage: Path) -> None:
    shutil.copy(stage.parent / "reid" / WEIGHTS, stage / WEIGHTS)


def _widen_config(stage: Path) -> None:
    config = json.loads((stage / "config.json").read_text())
    (stage / "config.json").write_text(json.dumps({**config, "width": 64}))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_remove_weights, "no weights at"),
        (_cut_weights, "not a whole safetensors file"),
        (_swap_weights, "it holds the weights of another model"),
        (_widen_config, "belong to different models"),
    ],
)
def test_damaged_weights(
    damage: Callable[[Path], None],
    says: str,
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    damage(copy / "lvfm")
    words = ["synthesise", "--out", str(tmp_path / "new"), "--weights", str(copy)]
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert says in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "new").exists()


def test_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert main(["phantom", "--out", str(tmp_path / "new"), "--n", "1", "--frames", "2"]) == 2
    assert "disk full" in capsys.readouterr().err
    assert _listing(tmp_path) == []


def test_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "echoflow", "phantom", "--out", "new", "--n", "100000"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_listen_to_interrupts,
    ) as run:
        try:
            while not list(tmp_path.glob(".new.*/Videos/*.avi")):
                assert run.poll() is None
                time.sleep(0.02)
            run.send_signal(signal.SIGINT)
            _, errors = run.communicate(timeout=120)
        finally:
            run.kill()
    assert run.returncode == 130
    assert errors.strip().splitlines()[-1].startswith("Interrupted")
    assert "Traceback" not in errors
    assert _listing(tmp_path) == []


def _listen_to_interrupts() -> None:
    """A shell starts background jobs deaf to SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
