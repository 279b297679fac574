"""Nothing outside a dataset's folder is opened or changed, and no scan gives a patient away."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from medical_files import IDENTIFIERS, write_dicom
from small_datasets import dynamic, film, row, traced, tracing

from echoflow.cli import main
from echoflow.data.sources import open_source
from echoflow.data.video import probe, read_gray, write_video
from echoflow.types import InputError

LONG_AGO = 1_000_000_000


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of videos and tables beside the dataset, unread for years."""
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in ("secret.avi", "0XA.avi"):
        (folder / name).write_bytes(film())
    (folder / "FileList.csv").write_text("FileName,EF\nsecret,50\n")
    for path in folder.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))
    return folder


def unread(folder: Path) -> bool:
    """Whether no file was read: the system would have noted the time, as it does for this one."""
    times = [path.stat().st_atime for path in sorted(folder.iterdir())]
    control = folder.with_name("control")
    control.write_bytes(b"x")
    os.utime(control, (LONG_AGO, LONG_AGO))
    control.read_bytes()
    noted = control.stat().st_atime > LONG_AGO
    control.unlink()
    if not noted:
        pytest.skip("this file system does not note when a file is read")
    return all(time == LONG_AGO for time in times)


def snapshot(folder: Path, without: Path) -> dict[str, tuple[int, int]]:
    """Every path with its size and time of change, except below `without`."""

    def paths() -> Iterator[Path]:
        for path in folder.rglob("*"):
            if path != without and without not in path.parents:
                yield path

    return {str(p): (p.lstat().st_size, p.lstat().st_mtime_ns) for p in paths() if not p.is_dir()}


@pytest.mark.parametrize(
    "name",
    [
        "{outside}/secret",
        "{outside}/secret.avi",
        "../../outside/secret",
        "../../outside/secret.avi",
        "..\\..\\outside\\secret.avi",
        "a/../../../outside/secret",
        "C:\\outside\\secret.avi",
        "\\\\host\\share\\secret.avi",
        "file://{outside}/secret.avi",
        "link",
    ],
)
def test_a_table_cannot_lead_out(name: str, tmp_path: Path, outside: Path) -> None:
    name = name.format(outside=outside)
    root = dynamic(
        tmp_path / "set", (row(name), row("0XB", "VAL"), row("0XC", "TEST")), videos="BC"
    )
    (root / "Videos/link.avi").symlink_to(outside / "secret.avi")
    lines = traced(f"{name}.avi", 0, tracing())
    (root / "VolumeTracings.csv").write_text("\n".join(("FileName,X1,Y1,X2,Y2,Frame", *lines)))
    before, out = snapshot(tmp_path, tmp_path / "out"), tmp_path / "out"
    assert main(["data", "check", str(root), "--decode", "--out", str(out)]) == 1
    manifest = open_source(root)
    assert [record.uid for record in manifest.records] == ["0XB", "0XC"]
    assert any(f.kind == "outside-root" and f.excluded for f in manifest.findings)
    assert snapshot(tmp_path, out) == before
    assert unread(outside)


def test_links_out_of_every_layout(tmp_path: Path, outside: Path) -> None:
    """Folders and tables that are links: none is followed, and each is told."""
    root = dynamic(tmp_path / "tables", (row("0XA"), row("0XB"), row("0XC")))
    (root / "VolumeTracings.csv").symlink_to(outside / "FileList.csv")
    assert len(open_source(root).records) == 3
    films = tmp_path / "films"
    (films / "deep").mkdir(parents=True)
    (films / "own.avi").write_bytes(film())
    (films / "deep/link.avi").symlink_to(outside / "secret.avi")
    (films / "folder").symlink_to(outside)
    (films / "labels.csv").symlink_to(outside / "FileList.csv")
    manifest = open_source(films)
    assert [record.path for record in manifest.records] == ["own.avi"]
    told = {f.path for f in manifest.findings if f.kind == "outside-root"}
    assert {"deep/link.avi", "folder"} <= told
    shutil.rmtree(root / "Videos")
    (root / "Videos").symlink_to(outside)
    assert open_source(root).records == ()
    assert unread(outside)


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile secret.avi\n",
        "ffconcat version 1.0\nfile {outside}/secret.avi\n",
        "#EXTM3U\n#EXTINF:1,\nsecret.avi\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXTINF:1,\nfile://{outside}/secret.avi\n#EXT-X-ENDLIST\n",
    ],
)
def test_a_video_is_no_list_of_other_files(text: str, tmp_path: Path, outside: Path) -> None:
    """A decoder would follow a playlist whatever its suffix, and through links in its folder."""
    root = tmp_path / "set"
    root.mkdir()
    (root / "secret.avi").symlink_to(outside / "secret.avi")
    (root / "x.avi").write_text(text.format(outside=outside))
    for read in (read_gray, probe):
        with pytest.raises(InputError, match=r"x.avi is not a video that can be read"):
            read(root / "x.avi")
    assert unread(outside)


def test_a_file_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    video = np.zeros((3, 16, 16), np.uint8)
    for name in ("a.avi", "concat:a.avi"):
        write_video(Path(name), video[: 1 + len(name) // 8], 10)
    assert read_gray("concat:a.avi")[0].shape == (2, 16, 16)


# ---- patients -----------------------------------------------------------------------------------


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder called after nobody, with sound scans, a broken one and one without pictures."""
    root = tmp_path / "scans"
    t, y, x = np.ogrid[:9, :112, :112]
    grey = (128 + 60 * np.sin(x / 9) + 60 * np.cos((y + t) / 7)).astype(np.uint8)
    for i, syntax in enumerate(("raw", "rle", "jpeg", "implicit")):
        video = np.roll(grey, 7 * i, axis=2)
        write_dicom(root / f"{i}.dcm", video, syntax=syntax, region=(4, 4, 108, 108))
    whole = (root / "0.dcm").read_bytes()
    (root / "broken.dcm").write_bytes(whole[: len(whole) // 2])
    (root / "scrambled.dcm").write_bytes(whole[:400] + whole[500:])
    return root


def everything(folder: Path) -> bytes:
    """The bytes of all files and names below a folder, tables unpacked."""
    parts = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        parts += [str(path.relative_to(folder)).encode(), path.read_bytes()]
        if path.suffix == ".parquet":
            parts.append(repr(pq.read_table(path).to_pylist()).encode())
    return b"\n".join(parts)


def leaks(data: bytes) -> list[str]:
    """The identifiers that stand in it, in any of the usual encodings."""
    return [
        name
        for name, value in IDENTIFIERS.items()
        if any(value.encode(code) in data for code in ("utf-8", "utf-16-le", "utf-16-be"))
    ]


def test_the_scans_do_hold_identifiers(scans: Path) -> None:
    assert set(leaks(everything(scans))) == set(IDENTIFIERS)


def test_no_identifier_reaches_what_check_and_encode_write(
    scans: Path, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report, latents = tmp_path / "report", tmp_path / "latents"
    assert main(["data", "check", str(scans), "--decode", "--out", str(report)]) == 1
    words = ["encode", str(scans), "--out", str(latents), "--weights", str(bundle)]
    assert main([*words, "--frames", "4"]) == 0
    shown = "".join(capfd.readouterr()).encode()
    rows = pq.read_table(latents / "index.parquet").to_pylist()
    assert len(rows) == 4
    for data in (shown, everything(report), everything(latents)):
        assert data
        assert leaks(data) == []


def test_no_identifier_stands_in_an_error(scans: Path, tmp_path: Path) -> None:
    said = []
    for path in sorted(scans.iterdir()):
        for read in (read_gray, probe):
            try:
                read(path)
            except InputError as error:
                said.append(str(error))
    assert said
    assert leaks("".join(said).encode()) == []
