"""Latents of other programs: what they say is kept, what they hide is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from echoflow.data.findings import left_out
from echoflow.data.foreign import foreign
from echoflow.data.shards import Latents
from echoflow.data.shardwriter import write_latents
from echoflow.data.tensorfile import read_moments, read_statistics
from echoflow.types import InputError, Split, View

CAMUS = Path(__file__).parents[3] / "shared/data/camus_latents_4f4"
MEAN, STD = torch.randn(2, 3, 4, 5, 5, generator=torch.manual_seed(0)).unbind()
STD = STD.abs()


@pytest.mark.parametrize(
    ("held", "holds"),
    [
        ({"mu": MEAN, "var": STD**2}, "auto"),
        ({"mean": MEAN, "logvar": 2 * STD.log()}, "auto"),
        ({"mean": MEAN, "std": STD}, "auto"),
        (torch.cat([MEAN, STD], 1), "auto"),
        (torch.cat([MEAN, STD**2], 1), "mean-var"),
        ({"latents": torch.cat([MEAN, 2 * STD.log()], 1)}, "mean-logvar"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_every_way_to_write_a_posterior(tmp_path, held, holds, suffix):
    path = tmp_path / f"one{suffix}"
    if suffix == ".pt":
        torch.save(held, path)
    else:
        save_file(held if isinstance(held, dict) else {"z": held}, str(path))
    moments = read_moments(path, holds, factor=0.5)
    assert torch.allclose(moments.mean, 2 * MEAN)
    assert torch.allclose(moments.std, 2 * STD, rtol=1e-4)


def test_draws_have_no_spread(tmp_path):
    torch.save(MEAN.half(), tmp_path / "one.pt")
    moments = read_moments(tmp_path / "one.pt")
    assert torch.equal(moments.mean, MEAN.half().float())
    assert moments.std.count_nonzero() == 0


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('it was run')",))


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (torch.randn(3, 6, 5, 5), r"\(3, 6, 5, 5\), which may be several things"),
        (torch.randn(3, 5), r"may be several things"),
        ({"mu": MEAN, "var": -STD}, "var is negative in places"),
        ({"mu": MEAN, "var": STD[1:]}, r"one shape; it holds \(3, 4, 5, 5\) and \(2, 4, 5, 5\)"),
        ({"mu": MEAN / 0, "var": STD}, "not finite"),
        ({"a": MEAN, "b": STD}, "must hold one tensor, or mu or mean"),
        ({}, "it holds no tensors"),
        ([MEAN], "holds a list, not tensors"),
    ],
)
def test_what_is_no_posterior_is_refused(tmp_path, held, message):
    torch.save(held, tmp_path / "one.pt")
    with pytest.raises(InputError, match=message):
        read_moments(tmp_path / "one.pt")


def test_a_pickle_runs_nothing(tmp_path):
    path = tmp_path / "one.pt"
    path.write_bytes(pickle.dumps(Evil(), 2))
    with pytest.raises(InputError, match="wants more than tensors"):
        read_moments(path)
    torch.save(MEAN, path)
    for cut in (0, 10, 200, 700):
        (tmp_path / "cut.pt").write_bytes(path.read_bytes()[:cut])
        with pytest.raises(InputError, match=r"cut\.pt"):
            read_moments(tmp_path / "cut.pt")


def synthetic_layout(root: Path) -> Path:
    """As EchoNet-Synthetic writes it: draws times 0.18215 under Latents/."""
    (root / "Latents").mkdir(parents=True)
    for name in ("0XA", "0XB", "0XD", "0XE"):
        torch.save(MEAN * 0.18215, root / "Latents" / f"{name}.pt")
    (root / "Latents" / "0XE.pt").write_bytes(b"PK")
    (root / "FileList.csv").write_text(
        "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split\n"
        "0XA,60,40,100,112,112,50,3,TRAIN\n0XB.avi,55,,,112,112,32,9,VAL\n"
        "0XC,50,,,112,112,50,3,TRAIN\n0XE,50,,,112,112,50,3,TRAIN\n"
        "0XA,10,,,112,112,50,3,TRAIN\n0XF,50,,,112,112,50,3,EXTRA\n,50,,,112,112,50,3,TRAIN\n"
    )
    return root


def test_the_latents_of_echonet_synthetic(tmp_path):
    supply = foreign(synthetic_layout(tmp_path / "old"), factor=0.18215, view=View.PSAX)
    done = write_latents(supply, tmp_path / "z")
    latents = Latents.read(tmp_path / "z")
    assert [(r.uid, r.split, r.fps, r.frames, r.view) for r in latents.records] == [
        ("0XA", Split.TRAIN, 50, 3, View.PSAX),
        ("0XB", Split.VAL, 32, 3, View.PSAX),
    ]
    assert (latents.records[0].ef, latents.records[0].esv, latents.records[0].edv) == (60, 40, 100)
    z, std = latents.raw(0, 0, 3).float().chunk(2, dim=1)
    assert torch.allclose(z, MEAN, atol=2e-3)
    assert std.count_nonzero() == 0
    kinds = {(f.kind, f.excluded) for f in done.findings}
    assert kinds == {
        ("missing-video", "0XC"),
        ("unlisted-video", "0XD"),
        ("unreadable", "0XE"),
        ("missing-video", "0XF"),
        ("repeated-name", None),
        ("bad-cell", "FileList.csv:8"),
        ("frame-count", None),
    }
    assert len(left_out(done.findings)) + done.videos == 7  # A-F and the row without a name


def test_files_without_a_table(tmp_path):
    (tmp_path / "old/deep").mkdir(parents=True)
    torch.save({"mu": MEAN, "var": STD}, tmp_path / "old/deep/a.pt")
    torch.save({"mu": MEAN, "var": STD}, tmp_path / "old/a.pt")
    with pytest.raises(InputError, match=r"nothing says the frame rate of a\.pt; give it"):
        foreign(tmp_path / "old")
    supply = foreign(tmp_path / "old", fps=32)
    assert [(r.uid, r.path, r.split, r.ef) for r in supply.records] == [
        ("a", "a.pt", Split.TRAIN, None)
    ]
    assert [(f.kind, f.path) for f in supply.findings] == [("repeated-name", "deep/a.pt")]


def test_links_that_lead_out_are_not_opened(tmp_path):
    (tmp_path / "old").mkdir()
    torch.save(MEAN, tmp_path / "secret.pt")
    torch.save(MEAN, tmp_path / "old/a.pt")
    (tmp_path / "old/b.pt").symlink_to(tmp_path / "secret.pt")
    supply = foreign(tmp_path / "old", fps=32)
    assert [record.uid for record in supply.records] == ["a"]
    assert [(f.kind, f.excluded) for f in supply.findings] == [("outside-root", "b")]


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        foreign(tmp_path / "none")
    with pytest.raises(InputError, match=r"no file ends in \.pt or \.safetensors"):
        foreign(tmp_path)
    with pytest.raises(
        InputError, match=r"unknown kind of latents 'mean-st'.*Did you mean mean-std"
    ):
        foreign(tmp_path, "mean-st")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="factor must be positive"):
        foreign(tmp_path, factor=0)
    torch.save({"mean": torch.zeros(4)}, tmp_path / "scaling.pt")
    with pytest.raises(InputError, match="must hold mean and std; it holds mean"):
        read_statistics(tmp_path / "scaling.pt")


@pytest.mark.skipif(not CAMUS.exists(), reason="needs the CAMUS latents")
def test_the_camus_latents(tmp_path):
    scaling = read_statistics(CAMUS / "camus_scaling_4f4.safetensors")
    done = write_latents(foreign(CAMUS), tmp_path / "z", scaling=scaling)
    assert (done.videos, done.findings) == (10, ())
    latents = Latents.read(tmp_path / "z")
    assert sum(record.frames for record in latents.records) == 255
    assert len(Latents.read(tmp_path / "z", Split.VAL)) == 1
    facts = {r.uid: (r.view, r.ef, r.fps, r.patient) for r in latents.records}
    assert facts["patient0119_4CH"] == (View.A4C, 64.0, 56.5, "patient0119")
    assert facts["patient0314_2CH"] == (View.OTHER, 47.0, 56.6, "patient0314")
    for number, record in enumerate(latents.records):
        held = load_file(str(CAMUS / record.path))
        mean, std = latents.raw(number, 0, record.frames).float().chunk(2, dim=1)
        assert torch.allclose(mean, held["mu"], rtol=1e-3, atol=1e-4)
        assert torch.allclose(std, held["var"].sqrt(), rtol=1e-3, atol=1e-6)
    z = latents.draw(np.arange(10), np.tile(np.arange(14), (10, 1)), np.random.default_rng(0))
    assert z.mean().abs() < 0.05
    assert z.std() == pytest.approx(1, abs=0.05)
