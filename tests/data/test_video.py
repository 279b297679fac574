"""Video files out and in, and what is said about bad ones."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from echoflow.data.video import GRAYS, WRITABLE, encode, probe, read_gray, write_video
from echoflow.types import InputError

POOL = sorted((Path(__file__).parents[3] / "shared/data/echodiffusion_pool/factual").glob("*.gif"))


def echo(frames: int = 12, height: int = 112, width: int = 112) -> np.ndarray:
    """A bright ring that beats in smooth grain, uint8 (t, h, w)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(x - width / 2, y - height / 2) / height
    grain = rng.uniform(0, 25, (height // 4 + 1, width // 4 + 1))
    grain = np.kron(grain, np.ones((4, 4)))[:height, :width]
    beat = 0.25 + 0.08 * np.cos(2 * np.pi * np.arange(frames) / frames)
    ring = 190 * np.exp(-(((radius - beat[:, None, None]) / 0.06) ** 2))
    return (ring + grain).clip(0, 255).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(float) - b) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize("shape", [(12, 112, 112), (3, 45, 61), (1, 16, 16)])
@pytest.mark.parametrize("fps", [50, 8, Fraction(30000, 1001), 7.5])
def test_round_trip(tmp_path, suffix, shape, fps):
    video = echo(*shape)
    path = tmp_path / f"clip{suffix}"
    write_video(path, video, fps)
    back, rate = read_gray(path)
    assert back.dtype == np.uint8
    frames, height, width = shape
    assert len(back) == frames
    assert psnr(video, back[:, :height, :width]) > {".avi": 40, ".mp4": 35, ".gif": 80}[suffix]
    if suffix != ".gif":
        assert rate == pytest.approx(float(fps), abs=1e-3)
    elif frames > 1:  # a GIF counts hundredths of a second
        assert rate == pytest.approx(float(fps), rel=0.02)
    assert probe(path) == (*back.shape, rate)


@pytest.mark.skipif(not POOL, reason="needs the clip pool")
def test_foreign_gifs(tmp_path):
    for path in POOL[:6]:
        video, fps = read_gray(path)
        assert video.shape == (16, 112, 112)
        assert fps == pytest.approx(1000 / 120)
        assert video.std() > 20
        write_video(tmp_path / "clip.avi", video, 8)
        back, _ = read_gray(tmp_path / "clip.avi")
        assert psnr(video, back) > 40


@pytest.mark.parametrize("suffix", WRITABLE)
def test_grey_decodes_to_three_equal_channels(tmp_path, suffix):
    write_video(tmp_path / f"clip{suffix}", echo(), 25)
    grey, _ = read_gray(tmp_path / f"clip{suffix}")
    colour, _ = read_gray(tmp_path / f"clip{suffix}", "keep")
    mean, _ = read_gray(tmp_path / f"clip{suffix}", "mean")
    assert colour.shape == (*grey.shape, 3)
    assert (colour == colour[..., :1]).all()
    assert (mean == grey).all()
    assert np.abs(grey.astype(int) - colour[..., 0]).max() <= (suffix == ".mp4")


def test_three_equal_channels_are_written_as_grey():
    video = echo(4)
    assert encode(np.stack([video] * 3, -1), 25, ".avi") == encode(video, 25, ".avi")


def test_colour_and_its_grey(tmp_path):
    red = np.zeros((3, 32, 32, 3), np.uint8)
    red[..., 0] = 255
    write_video(tmp_path / "red.gif", red, 10)
    assert read_gray(tmp_path / "red.gif", "luma")[0].max() == 76
    assert read_gray(tmp_path / "red.gif", "mean")[0].max() == 85
    for suffix in (".avi", ".mp4"):
        write_video(tmp_path / f"red{suffix}", red, 10)
        colour, _ = read_gray(tmp_path / f"red{suffix}", "keep")
        assert np.abs(colour.astype(int) - red).max() < 8
        assert abs(int(read_gray(tmp_path / f"red{suffix}")[0].mean()) - 76) <= 3


def test_gif_keeps_its_pace_where_frames_repeat(tmp_path):
    video = np.repeat(echo(4), [1, 2, 1, 1], axis=0)
    write_video(tmp_path / "held.gif", video, 10)
    back, fps = read_gray(tmp_path / "held.gif")
    assert (back == video).all()
    assert fps == pytest.approx(10)


def test_gif_is_thinned_to_what_browsers_play(tmp_path):
    write_video(tmp_path / "fast.gif", echo(100, 16, 16), 100)
    back, fps = read_gray(tmp_path / "fast.gif")
    assert fps == pytest.approx(50)
    assert len(back) == 50


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_still_image_is_one_frame(tmp_path, suffix):
    picture = echo(1)[0]
    Image.fromarray(picture).save(tmp_path / f"still{suffix}", quality=95)
    video, fps = read_gray(tmp_path / f"still{suffix}")
    assert video.shape == (1, 112, 112)
    assert fps == 1.0
    assert psnr(video[0], picture) > 35


def test_sixteen_bit_png_is_scaled_not_clipped(tmp_path):
    picture = echo(1)[0]
    Image.fromarray(picture.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert (read_gray(tmp_path / "deep.png")[0][0] == picture).all()


def bad_files(folder: Path) -> dict[str, Path]:
    text = folder / "note.avi"
    text.write_text("not a video")
    empty = folder / "empty.mp4"
    empty.touch()
    fake = folder / "fake.gif"
    fake.write_bytes(b"GIF89a")
    return {"note": text, "empty": empty, "fake": fake}


def test_what_is_no_video_is_refused(tmp_path):
    paths = bad_files(tmp_path)
    with pytest.raises(InputError, match="there is no file"):
        read_gray(tmp_path / "absent.avi")
    with pytest.raises(InputError, match="is a folder"):
        read_gray(tmp_path)
    with pytest.raises(InputError, match="not a video that can be read"):
        read_gray(paths["note"])
    with pytest.raises(InputError, match="not a video that can be read"):
        read_gray(paths["empty"])
    with pytest.raises(InputError, match="not an image that can be read"):
        read_gray(paths["fake"])
    for path in paths.values():
        with pytest.raises(InputError):
            probe(path)


def test_video_without_pictures_is_refused(tmp_path):
    import av

    with av.open(str(tmp_path / "sound.avi"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        for packet in (*stream.encode(frame), *stream.encode(None)):  # type: ignore[attr-defined]
            container.mux(packet)
    with pytest.raises(InputError, match="has no picture in it"):
        read_gray(tmp_path / "sound.avi")


def test_video_without_frames_is_refused(tmp_path):
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuvj420p"  # type: ignore[attr-defined]
        container.start_encoding()
    (tmp_path / "none.avi").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"holds no frames|not a video"):
        read_gray(tmp_path / "none.avi")


@pytest.mark.parametrize("suffix", [".avi", ".gif"])
def test_truncated_file_says_how_many_frames_it_has(tmp_path, suffix):
    data = encode(echo(20), 25, suffix)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(len(data) * 0.6)])
    with pytest.raises(InputError, match=r"damaged or truncated: \d+.* frames could be decoded"):
        read_gray(path)


def test_truncated_mp4_is_refused(tmp_path):
    data = encode(echo(20), 25, ".mp4")
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut\.mp4"):
        read_gray(tmp_path / "cut.mp4")


def test_pictures_of_several_sizes_are_refused(tmp_path):
    first, second = (Image.fromarray(echo(1, size, size)[0]) for size in (16, 24))
    first.save(tmp_path / "pages.tiff", save_all=True, append_images=[second])
    with pytest.raises(InputError, match="pictures of several sizes"):
        read_gray(tmp_path / "pages.tiff")


def test_a_header_that_counts_too_few_frames_is_not_believed(tmp_path):
    """The number of frames in an AVI header is a hint: what is there is read, all of it."""
    data = bytearray(encode(echo(20), 25, ".avi"))
    for tag, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        at = data.index(tag) + offset
        data[at : at + 4] = (3).to_bytes(4, "little")
    (tmp_path / "more.avi").write_bytes(data)
    assert read_gray(tmp_path / "more.avi")[0].shape == (20, 112, 112)


@pytest.mark.parametrize(
    "video",
    [
        np.zeros((0, 8, 8), np.uint8),
        np.zeros((8, 8), np.uint8),
        np.zeros((2, 8, 8), np.float32),
        np.zeros((2, 8, 8, 4), np.uint8),
    ],
)
def test_only_videos_are_written(tmp_path, video):
    with pytest.raises(InputError, match=r"uint8 with axes \(t, h, w\)"):
        write_video(tmp_path / "x.avi", video, 25)
    assert not list(tmp_path.iterdir())


def test_unknown_suffix_rate_and_grey(tmp_path):
    with pytest.raises(InputError, match=r"unknown video suffix '\.av1'.*\.avi"):
        write_video(tmp_path / "x.av1", echo(1), 25)
    with pytest.raises(InputError, match="fps must be positive; got 0"):
        write_video(tmp_path / "x.avi", echo(1), 0)
    with pytest.raises(InputError, match=r"unknown gray 'lumma'.*Did you mean luma"):
        read_gray(tmp_path, "lumma")  # type: ignore[arg-type]
    assert GRAYS == ("luma", "mean", "keep", "labels")


def test_damage_that_a_decoder_paints_over_is_refused_where_it_matters(tmp_path):
    path = tmp_path / "x.avi"
    write_video(path, echo(5), 25)
    sound, _ = read_gray(path, strict=True)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = np.random.default_rng(0).integers(0, 256, 64, np.uint8).tobytes()
    path.write_bytes(data)
    painted, _ = read_gray(path)
    assert painted.shape == sound.shape
    assert np.abs(painted.astype(int) - sound).max() > 20
    with pytest.raises(InputError, match=r"x\.avi is damaged or truncated"):
        read_gray(path, strict=True)
