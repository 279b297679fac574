"""What is damaged, and how it is read: a sound dataset of each format, and the outcome of reading.

An outcome is one word: `record` (nothing wrong), `finding` (read around), `exclusion` (a video is
left out, with a reason) or `error` (the dataset cannot be opened, in one sentence). Anything else
is a failure and raises.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from mutations import BYTES, PLACES, TABLES, Damage

from echoflow.data.findings import KINDS, left_out
from echoflow.types import InputError

OURS = ("gone", "folder", "dead link")
"""What may happen to a file that this program wrote itself."""

Attempt = Callable[[Path], str]


@dataclass(frozen=True)
class Target:
    """`cases` damaged versions of the files that match `victims`, read by `attempt`.

    `places`: what may stand there instead of a file, in one case of twelve.
    """

    cases: int
    build: Callable[[Path], None]
    victims: tuple[str, ...]
    damages: tuple[Damage, ...]
    attempt: Attempt
    places: tuple[str, ...] = PLACES


# ---- reading ------------------------------------------------------------------------------------


def dataset(source: str) -> Attempt:
    """Opens a dataset, decodes its videos, rasterises its tracings and tells what it found."""

    def attempt(root: Path) -> str:
        from echoflow.data.check import check, summary

        try:
            checked = check(root, source)
        except InputError as error:
            return _one_clear_error(error, root)
        excluded = {*checked.left_out, *_unusable(checked.manifest, root)}
        text = json.dumps(summary(checked)) + json.dumps([asdict(f) for f in checked.findings])
        _no_identifier(text)
        for finding in checked.findings:
            assert finding.kind in KINDS, finding
            assert finding.detail.strip(), finding
            assert str(root.parent) not in f"{finding.path} {finding.detail}", finding
            assert "\n" not in finding.detail, finding
        assert checked.found == len(checked.records) + len(left_out(checked.findings))
        assert len({r.uid for r in checked.records} | set(checked.left_out)) == checked.found
        return "exclusion" if excluded else "finding" if checked.findings else "record"

    return attempt


def _unusable(manifest, root: Path) -> list[str]:
    """The videos that turn out to be bad when they are decoded or their masks are drawn."""
    from echoflow.data.truths import lv_masks
    from echoflow.data.video import read_gray

    excluded = []
    for record in manifest.records:
        path = manifest.video(record)
        real = os.path.realpath(path)
        assert real.startswith(os.path.realpath(root) + os.sep), f"{path} leaves {root}"
        try:
            video, _ = read_gray(path)
            masks = lv_masks(manifest, record)
        except InputError as error:
            _one_clear_error(error, root)
            excluded.append(record.uid)
            continue
        assert video.dtype == np.uint8
        assert video.ndim == 3
        for mask in masks.values():
            assert mask.shape == (record.height, record.width)
        assert record.ef is None or 0 <= record.ef <= 100, record
    return excluded


def one_video(root: Path) -> str:
    """Reads each file as what its suffix says, in every grey; a probe agrees with the decoder."""
    from echoflow.data.video import probe, read_gray

    outcomes = []
    for path in sorted(p for p in root.iterdir() if p.name.startswith("victim")):
        for gray in ("luma", "mean", "keep"):
            try:
                video, fps = read_gray(path, gray)
                assert video.dtype == np.uint8
                assert 0 < fps < float("inf")
                probe(path)
                outcomes.append("record")
            except InputError as error:
                outcomes.append(_one_clear_error(error, root))
    return "error" if "error" in outcomes else "record"


def latents(root: Path) -> str:
    """Every moment, mask and draw of a folder of latents."""
    from echoflow.data.shards import Latents

    try:
        found = Latents.read(root)
        for number, record in enumerate(found.records):
            last = max(0, record.frames - 1)
            found.draw(np.array([number]), np.array([[0, last]]), np.random.default_rng(0))
            frames = found.traced(number)
            if len(frames):
                found.mask(np.array([number]), frames[None, :1])
    except InputError as error:
        return _one_clear_error(error, root)
    return "record"


def shards(root: Path) -> str:
    """What the headers of the shards say, as an encoder that goes on reads them."""
    from echoflow.data.shardfile import read_findings, read_notes

    try:
        for path in sorted(root.glob("shard-*")):
            read_notes(path)
        list(read_findings(root / "findings.csv"))
    except InputError as error:
        return _one_clear_error(error, root)
    return latents(root)


def networks(root: Path) -> str:
    """A network, a gallery and a filter from their folder."""
    import torch

    from echoflow.networks import zoo
    from echoflow.privacy import Gallery, PrivacyFilter

    try:
        zoo.load(root / "reid")
        Gallery.load(root / "privacy.safetensors")
        PrivacyFilter.load(root / "privacy.safetensors", torch.nn.Identity())
    except InputError as error:
        return _one_clear_error(error, root)
    return "record"


def _one_clear_error(error: InputError, root: Path) -> str:
    text = str(error)
    assert text.strip(), "an error without a word"
    assert len(text) < 1000, text
    assert "Traceback" not in text
    _no_identifier(text)
    return "error"


def _no_identifier(text: str) -> None:
    from medical_files import IDENTIFIERS

    assert not [name for name, value in IDENTIFIERS.items() if value in text], text


# ---- sound datasets -----------------------------------------------------------------------------


def phantom(layout: str) -> Callable[[Path], None]:
    """A dataset of two simulated hearts, or three where videos are small."""

    def build(root: Path) -> None:
        from echoflow.data.phantom.layout import LAYOUTS, write_layout
        from echoflow.data.phantom.population import Population

        kind = LAYOUTS[layout]
        phase, n = (0.0, 2) if kind.gated else (None, 3)
        hearts = Population(
            patients=n, cohorts=(kind.cohort,), views=kind.default, frames=12, fps=16.0, phase=phase
        )
        write_layout(layout, hearts.clips(1), root, hearts.spec())

    return build


def films(root: Path) -> None:
    """Any folder: an AVI, an MP4, a GIF, a still, and labels."""
    from PIL import Image

    from echoflow.data.video import write_video

    root.mkdir(parents=True)
    ramp = np.tile(np.arange(0, 240, 5, dtype=np.uint8), (6, 40, 1))
    ramp += np.arange(6, dtype=np.uint8)[:, None, None]
    for name in ("victim.avi", "victim-b.mp4", "victim-c.gif"):
        write_video(root / name, ramp, 20)
    Image.fromarray(ramp[0]).save(root / "victim-d.png")
    Image.fromarray(ramp[0]).save(root / "victim-e.jpg")
    rows = ["FileName,EF,View,Split", "victim.avi,55,A4C,TRAIN", "victim-b,40.5,PSAX,VAL"]
    (root / "labels.csv").write_text("\n".join(rows) + "\n")


def scans(root: Path) -> None:
    """DICOM loops: raw, run-length coded, JPEG in colour, and one without a region."""
    from medical_files import write_dicom

    t, y, x = np.ogrid[:4, :40, :48]
    grey = (128 + 60 * np.sin(x / 9) + 60 * np.cos((y + t) / 7)).astype(np.uint8)
    colour = np.repeat(grey[..., None], 3, axis=-1)
    region = (2, 4, 38, 44)
    write_dicom(root / "a.dcm", grey, region=region)
    write_dicom(root / "b.dcm", 255 - grey, syntax="rle", region=region)
    write_dicom(root / "c.dcm", colour, "YBR_FULL", "jpeg", region=region)
    write_dicom(root / "deep" / "d", grey[::-1])
    (root / "labels.csv").write_text("FileName,EF,View\na.dcm,61,A4C\ndeep/d,35.5,PSAX\n")


def stills(root: Path) -> None:
    """TMED-2: labelled and unlabelled pictures."""
    from PIL import Image

    base = root / "approved_users_only" / "view_labeled_set" / "labeled"
    base.mkdir(parents=True)
    names = [f"{study}s1_{frame}.png" for study in (1009, 1010) for frame in (1, 2)]
    for number, name in enumerate(names):
        Image.fromarray(np.full((112, 112), 40 * number, np.uint8)).save(base / name)
    rows = [f"{name},PLAX,no_AS,train,train" for name in names]
    header = "query_key,view_label,diagnosis_label,view_classifier_split,diagnosis_classifier_split"
    table = root / "approved_users_only" / "labels_per_image.csv"
    table.write_text("\n".join((header, *rows)) + "\n")


def encoded(root: Path) -> None:
    """Latents of the phantom, by an untrained A-VAE."""
    from tiny_engine import untrained_space

    from echoflow.data.prepare import Window
    from echoflow.data.shards import encode_clips, labelled
    from echoflow.data.sources import open_source

    source = root.with_name("source")
    phantom("dynamic")(source)
    manifest = open_source(source)
    feed = labelled(manifest, manifest.records, Window(size=16))
    encode_clips(feed, untrained_space().avae, root, "untrained", per_shard=2)


def weights(root: Path) -> None:
    """A small network, and a filter with its gallery."""
    import torch

    from echoflow.networks import zoo
    from echoflow.networks.heads import ReIdConfig
    from echoflow.privacy import Gallery, PrivacyFilter

    torch.manual_seed(0)
    zoo.save(zoo.build(ReIdConfig(2, 8, 1)), root / "reid")
    gallery = Gallery(torch.randn(3, 8), ("0XA", "0XB", "0XC"))
    PrivacyFilter(torch.nn.Identity(), gallery, 0.9).save(root / "privacy.safetensors")


LISTS = ("**/FileList.csv", "**/VolumeTracings.csv")

TARGETS: dict[str, Target] = {
    "csv: echonet-dynamic": Target(
        400,
        phantom("dynamic"),
        ("FileList.csv", "VolumeTracings.csv"),
        TABLES,
        dataset("echonet-dynamic"),
    ),
    "csv: echonet-pediatric": Target(
        300,
        phantom("pediatric"),
        ("**/FileList.csv", "**/VolumeTracings.csv"),
        TABLES,
        dataset("echonet-pediatric"),
    ),
    "csv: echonet-lvh": Target(
        250, phantom("lvh"), ("MeasurementsList.csv",), TABLES, dataset("echonet-lvh")
    ),
    "csv: camus": Target(250, phantom("camus"), ("**/*.cfg", "**/*.txt"), TABLES, dataset("camus")),
    "csv: tmed2": Target(150, stills, ("**/*.csv",), TABLES, dataset("tmed2")),
    "csv: folder": Target(200, films, ("*.csv",), TABLES, dataset("folder")),
    "avi: echonet-dynamic": Target(
        500, phantom("dynamic"), ("Videos/*.avi",), BYTES, dataset("echonet-dynamic")
    ),
    "avi, mp4, gif, png, jpg": Target(700, films, ("victim*",), BYTES, one_video, ()),
    "avi, mp4, gif, png, jpg: folder": Target(300, films, ("victim*",), BYTES, dataset("folder")),
    "nifti: camus": Target(600, phantom("camus"), ("**/*.nii.gz",), BYTES, dataset("camus")),
    "dicom": Target(700, scans, ("*.dcm", "deep/d"), BYTES, dataset("dicom")),
    "safetensors: latents": Target(350, encoded, ("shard-*",), BYTES, shards, OURS),
    "safetensors: networks": Target(250, weights, ("**/*.safetensors",), BYTES, networks, OURS),
    "parquet: latents": Target(500, encoded, ("index.parquet",), BYTES, latents, OURS),
    "json: cards": Target(50, encoded, ("latents.json",), (*TABLES, *BYTES), latents, OURS),
}
