"""`echoflow encode`: datasets and foreign latents in, latent folders out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from echoflow.cli import main
from echoflow.data.shards import Latents
from echoflow.data.video import write_video
from echoflow.files import sha256


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Five noisy films, one of them cut short, with a table."""
    root = tmp_path / "films"
    rng = np.random.default_rng(0)
    for number in range(5):
        write_video(root / f"{number}.avi", rng.integers(0, 255, (3, 20, 20), np.uint8), 10)
    whole = (root / "4.avi").read_bytes()
    (root / "4.avi").write_bytes(whole[:-200])
    (root / "labels.csv").write_text(
        "FileName,EF,Split\n0,50,TRAIN\n1,60,VAL\n2,40,TRAIN\n3,30,TEST\n4,20,TRAIN\n"
    )
    return root


def test_any_folder(films, bundle, tmp_path, capsys):
    words = ["encode", str(films), "--out", str(tmp_path / "z"), "--weights", str(bundle)]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert printed.out == f"4 videos encoded in {tmp_path / 'z'}\n"
    assert "1 of 5 videos is left out (truncated 1)" in printed.err
    latents = Latents.read(tmp_path / "z")
    assert [record.ef for record in latents.records] == [50, 60, 40, 30]
    plan = json.loads((tmp_path / "z/latents.json").read_text())["plan"]
    assert plan["avae"] == sha256(bundle / "avae" / "diffusion_pytorch_model.safetensors")
    assert main(words) == 0  # it is there: nothing is done twice
    assert main([*words, "--frames", "2"]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_splits_windows_and_statistics(films, bundle, tmp_path):
    torch.save({"mean": torch.zeros(4), "std": torch.full((4,), 2.0)}, tmp_path / "scaling.pt")
    words = ["encode", str(films), "--out", str(tmp_path / "z"), "--weights", str(bundle / "avae")]
    settings = ["--frames", "2", "--fps", "5", "--size", "32", "--inference", "exact"]
    given = ["--split", "val,test", "--scaling", str(tmp_path / "scaling.pt")]
    assert main([*words, *settings, *given]) == 0
    latents = Latents.read(tmp_path / "z")
    assert [record.uid for record in latents.records] == ["1", "3"]
    assert {(r.frames, r.height, r.fps) for r in latents.records} == {(2, 32, 5)}
    assert latents.stats.std.tolist() == [2] * 4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--inference", "fp8"], "unknown inference setting"),
        (["--split", "TRAN"], "Did you mean TRAIN"),
        (["--source", "camuss"], "Did you mean camus"),
        (["--subfolder", "lifm"], "holds a FMiT, no A-VAE"),
        (["--subfolder", "vae"], "has no folder vae"),
        (["--scaling", "none.pt"], "none.pt"),
        (["--import"], "there are no latents in"),
        (["--import", "--holds", "means"], "unknown kind of latents"),
        (["--import", "--view", "A5C"], "Did you mean A4C"),
    ],
)
def test_refusals(films, bundle, tmp_path, monkeypatch, capsys, options, says):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["encode", "films", "--out", "new", "--weights", str(bundle), *options]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_release_with_several_autoencoders(films, bundle, tmp_path, capsys):
    for name in ("avae-4f4", "avae-4f8"):
        shutil.copytree(bundle / "avae", tmp_path / "release" / "vae" / name)
    words = ["encode", str(films), "--out", str(tmp_path / "z")]
    words += ["--weights", str(tmp_path / "release")]
    assert main(words) == 2
    assert "choose one with --subfolder: vae/avae-4f4, vae/avae-4f8" in capsys.readouterr().err
    assert main([*words, "--subfolder", "vae/avae-4f8"]) == 0
    shutil.rmtree(tmp_path / "release" / "vae" / "avae-4f4")
    assert main(words) == 0  # the only one left is the same


def test_imported_latents_train_a_network(tmp_path, capsys):
    """From the files of another program to a training step."""
    (tmp_path / "old").mkdir()
    rows = ["video_name,view,NbFrame,EF,FrameRate,split"]
    for number in range(4):
        held = {"mu": torch.randn(9, 4, 28, 28) * 5 + 1, "var": torch.full((9, 4, 28, 28), 1e-6)}
        name = f"patient{number:04d}_4CH"
        torch.save(held, tmp_path / "old" / f"{name}.pt")
        rows.append(
            f"{name},{number % 2 * 2 + 2}CH,9,{50 + number},50,{'VAL' if not number else ''}"
        )
    (tmp_path / "old/metadata.csv").write_text("\n".join(rows) + "\n")
    latents = tmp_path / "latents"
    assert main(["encode", str(tmp_path / "old"), "--out", str(latents), "--import"]) == 0
    assert "4 videos encoded" in capsys.readouterr().out
    small = ["engine.batch=2", "engine.compile=false", "engine.precision=fp32", "engine.steps=1"]
    words = ["train", "nano-reid", f"data={latents}", *small, "--out", str(tmp_path / "run")]
    assert main(words) == 0
