"""Whatever a dataset draws becomes masks; events go by area; volumes by scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from echoflow.data.manifest import Manifest
from echoflow.data.masks import mask_tracing, tracing_mask
from echoflow.data.truths import events, lv_masks, measured, polygon_mask, scale_of
from echoflow.data.volumes import mask_volume, tracing_volume
from echoflow.types import InputError, Record, Split, View

SIZE = 64
LARGE, SMALL = 4, 9  # frames


def ellipse(long: float, short: float) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE] - 32
    return (y / long) ** 2 + (x / short) ** 2 <= 1


def corners(long: float, short: float, n: int = 40) -> np.ndarray:
    angle = 2 * np.pi * np.arange(n) / n
    return np.stack([32 + short * np.cos(angle), 32 + long * np.sin(angle)], axis=1)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def record(frames: int = 12) -> Record:
    return Record(
        "a", "a.avi", "test", View.A4C, Split.TRAIN, None,
        50.0, frames, SIZE, SIZE, None, None, None,
    )  # fmt: skip


def manifest(root: Path = Path("none"), **drawn: Any) -> Manifest:
    tables: dict[str, Any] = {name: {"a": frames} for name, frames in drawn.items()}
    return Manifest(root, (record(),), **tables)


DRAWN = {
    "chords": manifest(
        tracings={SMALL: mask_tracing(ellipse(20, 9)), LARGE: mask_tracing(ellipse(24, 14))}
    ),
    "polygons": manifest(outlines={SMALL: corners(20, 9), LARGE: corners(24, 14)}),
}


@pytest.mark.parametrize("drawn", DRAWN)
def test_every_way_of_drawing_gives_the_same_masks(drawn):
    masks = lv_masks(DRAWN[drawn], record())
    assert list(masks) == [LARGE, SMALL]
    assert dice(masks[LARGE], ellipse(24, 14)) > 0.95
    assert dice(masks[SMALL], ellipse(20, 9)) > 0.93
    assert events(masks) == (LARGE, SMALL)
    found = measured(DRAWN[drawn], record())
    assert found is not None
    assert (found.ed, found.es, found.edv, found.esv) == (LARGE, SMALL, None, None)
    expected = 100 * (1 - 20 * 9**2 / (24 * 14**2))
    assert found.ef == pytest.approx(expected, abs=3)


def test_label_images(tmp_path):
    for name, mask, value in (("l.png", ellipse(24, 14), 255), ("s.png", ellipse(20, 9), 1)):
        labels = np.where(mask, value, 0).astype(np.uint8)
        labels[:3] = 3
        Image.fromarray(labels).save(tmp_path / name)
    drawn = manifest(tmp_path, label_maps={LARGE: "l.png", SMALL: "s.png"})
    masks = lv_masks(drawn, record())
    assert (masks[LARGE] == ellipse(24, 14)).all()
    assert (masks[SMALL] == ellipse(20, 9)).all()
    for name in ("../x.png", "none.png", "/etc/hostname"):
        with pytest.raises(InputError, match="there is no label map"):
            lv_masks(manifest(tmp_path, label_maps={0: name}), record())
    Image.fromarray(np.ones((8, 9), np.uint8)).save(tmp_path / "other.png")
    with pytest.raises(InputError, match=r"1 label maps of 8x9 pixels; the video has 12 frames"):
        lv_masks(manifest(tmp_path, label_maps={0: "other.png"}), record())


def test_a_label_map_for_every_frame(tmp_path):
    frames = [ellipse(24 - f / 2, 14 - f / 2) for f in range(12)]
    pictures = [Image.fromarray(frame.astype(np.uint8)) for frame in frames]
    pictures[0].save(tmp_path / "all.tif", save_all=True, append_images=pictures[1:])
    drawn = manifest(tmp_path, label_maps=dict.fromkeys(range(12), "all.tif"))
    masks = lv_masks(drawn, record())
    assert all((masks[f] == frames[f]).all() for f in range(12))
    turned = Manifest(
        tmp_path, (record(),), label_maps=drawn.label_maps, backwards=frozenset({"a"})
    )
    assert all((lv_masks(turned, record())[f] == frames[11 - f]).all() for f in range(12))


def test_defects_of_polygons():
    sound = corners(24, 14)
    mask = polygon_mask(sound, SIZE, SIZE)
    repeated = np.repeat(sound, 3, axis=0)
    closed = np.concatenate([sound, sound[:1]])
    for odd in (repeated, closed, sound[::-1], np.roll(sound, 7, axis=0)):
        assert (polygon_mask(odd, SIZE, SIZE) == mask).all()
    for few in (sound[:2], np.repeat(sound[:2], 5, axis=0), np.empty((0, 2)), sound * 0):
        assert not polygon_mask(few, SIZE, SIZE).any()
    shifted = polygon_mask(sound - [30, 0], SIZE, SIZE)
    assert (shifted[:, :30] == mask[:, 30:60]).all()
    assert not polygon_mask(sound + 500, SIZE, SIZE).any()
    assert polygon_mask(sound * 1e18, SIZE, SIZE).shape == (SIZE, SIZE)


def test_defects_of_chords():
    sound = mask_tracing(ellipse(24, 14))
    wild = sound.copy()
    wild[20, 0] = -2.33
    odd = {
        0: np.concatenate([sound, sound - 10]),
        1: sound[:16],
        2: sound[:2],
        3: wild,
        50: sound,
        -1: sound,
    }
    masks = lv_masks(manifest(tracings=odd), record())
    assert list(masks) == [0, 1, 3]
    assert (masks[0] == tracing_mask(sound, SIZE, SIZE)).all()
    assert masks[3][:, 0].any()
    assert 0.6 < masks[1].sum() / masks[0].sum() < 0.9


def test_nothing_drawn_is_nothing_measured():
    assert lv_masks(manifest(), record()) == {}
    assert events({}) is None
    assert measured(manifest(), record()) is None
    assert measured(manifest(outlines={3: corners(20, 9)}), record()) is None


def test_a_scale_gives_volumes():
    lines = {SMALL: mask_tracing(ellipse(20, 9)), LARGE: mask_tracing(ellipse(24, 14))}
    scaled = Manifest(
        Path("none"), (record(),), tracings={"a": lines}, extras={"a": {"mm_per_px": "1.5"}}
    )
    assert scale_of(scaled, record()) == (1.5, 1.5)
    found = measured(scaled, record())
    assert found is not None
    assert (found.edv, found.esv) == (
        tracing_volume(lines[LARGE], 1.5), tracing_volume(lines[SMALL], 1.5),
    )  # fmt: skip
    assert found.ef == pytest.approx(100 * (1 - tracing_volume(lines[SMALL]) /
                                            tracing_volume(lines[LARGE])))  # fmt: skip
    assert measured(manifest(tracings=lines), record(), (1.5, 1.5)) == found
    by_area = measured(scaled, record(), method="area-length")
    assert by_area is not None
    assert by_area.edv == pytest.approx(found.edv, rel=0.04)
    polygons = manifest(outlines={SMALL: corners(20, 9), LARGE: corners(24, 14)})
    other = measured(polygons, record(), 0.5)
    assert other is not None
    assert other.edv == mask_volume(lv_masks(polygons, record())[LARGE], 0.5)


@pytest.mark.parametrize("text", ["", "fast", "0", "-1 1", "nan", "1 2 3", "inf"])
def test_what_is_no_scale(text):
    odd = Manifest(Path("none"), (record(),), extras={"a": {"mm_per_px": text}})
    assert scale_of(odd, record()) is None
