"""Small datasets on disk, in the layouts that are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from echoflow.data.video import encode

FILE_LIST: str = "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split"
PEDIATRIC: str = "FileName,EF,Sex,Age,Weight,Height,Split"
FRAMES, HEIGHT, WIDTH, FPS = 5, 12, 16, 25.0


def film(frames: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """An AVI file of noise at 25 fps."""
    noise = np.random.default_rng(frames).integers(0, 255, (frames, height, width), np.uint8)
    return encode(noise, FPS, ".avi")


def table(path: Path, header: str, rows: Iterable[str | Sequence[object]]) -> None:
    """A CSV file; rows are given as text or as cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else ",".join(map(str, row)) for row in rows]
    path.write_text("\n".join((header, *lines)) + "\n")


def films(folder: Path, names: Iterable[str]) -> None:
    """The same short video under several names."""
    folder.mkdir(parents=True, exist_ok=True)
    data = film()
    for name in names:
        (folder / name).write_bytes(data)


def dynamic(root: Path, rows: Sequence[str], header: str = FILE_LIST, videos: str = "ABC") -> Path:
    """EchoNet-Dynamic with the videos 0XA, 0XB and 0XC."""
    films(root / "Videos", (f"0X{letter}.avi" for letter in videos))
    table(root / "FileList.csv", header, rows)
    return root


def row(uid: str, split: str = "TRAIN", **changes: object) -> str:
    """A sound row of FileList.csv for `film()`, but for `changes`."""
    cells: dict[str, object] = {
        "FileName": uid,
        "EF": 55.5,
        "ESV": 40.25,
        "EDV": 90.5,
        "FrameHeight": HEIGHT,
        "FrameWidth": WIDTH,
        "FPS": 50,
        "NumberOfFrames": FRAMES,
        "Split": split,
    }
    return ",".join(str(value) for value in {**cells, **changes}.values())


def tracing(size: float = 8.0, height: float = 10.0, middle: float = 8.0) -> np.ndarray:
    """(21, 4): a long axis of `height` px and 20 chords of width `size` about x = `middle`."""
    y = 1 + (np.arange(20) + 0.5) * height / 20
    ones = np.ones(20)
    chords = np.stack([(middle - size / 2) * ones, y, (middle + size / 2) * ones, y], 1)
    return np.concatenate([[[middle, 1, middle, 1 + height]], chords])


def traced(name: str, frame: object, lines: np.ndarray) -> list[str]:
    """Rows of VolumeTracings.csv."""
    return [",".join((name, *map(str, line), str(frame))) for line in lines.tolist()]


def brightening(root: Path, splits: Sequence[str] = ("TRAIN", "TRAIN", "VAL")) -> Path:
    """Videos of 9 frames of 16 x 16 pixels at 8 Hz, every frame brighter than the one before."""
    across = np.linspace(0, 40, 16).astype(np.uint8)
    size = {"FrameHeight": 16, "FrameWidth": 16, "FPS": 8, "NumberOfFrames": 9}
    rows = []
    (root / "Videos").mkdir()
    for i, split in enumerate(splits):
        film = np.stack([np.tile(across, (16, 1)) + 20 * k + 5 * i for k in range(9)])
        (root / "Videos" / f"0X{i}.avi").write_bytes(encode(film.astype(np.uint8), 8.0, ".avi"))
        rows.append(row(f"0X{i}", split, EF=30.0 + 20 * i, **size))
    table(root / "FileList.csv", FILE_LIST, rows)
    return root
