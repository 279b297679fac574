"""NIfTI pictures and label maps."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from medical_files import write_nifti

from echoflow.data import nifti
from echoflow.data.video import STILL_FPS, probe, read_gray
from echoflow.types import InputError

nibabel = pytest.importorskip("nibabel")

RNG = np.random.default_rng(0)
VIDEO = RNG.integers(0, 256, (4, 20, 30), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_sequences_and_stills(tmp_path, suffix):
    path = write_nifti(tmp_path / f"x{suffix}", VIDEO)
    assert (read_gray(path)[0] == VIDEO).all()
    assert probe(path) == (4, 20, 30, STILL_FPS)
    assert nifti.describe(path).mm_per_px == (0.5, 0.25)
    assert read_gray(path, "keep")[0].shape == (4, 20, 30, 3)
    still = write_nifti(tmp_path / f"s{suffix}", VIDEO[0])
    assert (read_gray(still)[0] == VIDEO[:1]).all()


def test_the_first_axis_on_disk_is_x(tmp_path):
    path = write_nifti(tmp_path / "x.nii", VIDEO)
    stored = np.asarray(nibabel.load(path).dataobj)
    assert stored.shape == (30, 20, 4)
    assert (stored[7, 3] == VIDEO[:, 3, 7]).all()


def test_a_time_axis_with_its_unit(tmp_path):
    path = write_nifti(tmp_path / "x.nii.gz", VIDEO, seconds=0.02)
    video, fps = read_gray(path)
    assert (video == VIDEO).all()
    assert fps == pytest.approx(50)


def test_other_numbers(tmp_path):
    for dtype in (np.int16, np.float32, np.float64):
        path = write_nifti(tmp_path / "x.nii", VIDEO.astype(dtype))
        assert (read_gray(path)[0] == VIDEO).all()
    spread = write_nifti(tmp_path / "y.nii", VIDEO.astype(np.int16) * 8 - 1000)
    assert np.abs(read_gray(spread)[0].astype(int) - VIDEO).max() <= 1
    path = write_nifti(tmp_path / "z.nii", VIDEO.astype(np.int16))
    data = bytearray(path.read_bytes())
    data[112:120] = np.array([0.5, 10], "<f4").tobytes()  # slope and intercept
    path.write_bytes(data)
    assert np.abs(read_gray(path)[0] - (VIDEO * 0.5 + 10)).max() <= 0.5


def test_label_maps_are_not_rounded(tmp_path):
    labels = RNG.integers(0, 4, (20, 30), dtype=np.uint8)
    path = write_nifti(tmp_path / "x.nii.gz", labels.astype(np.float32))
    assert (nifti.read_labels(path) == labels).all()
    assert nifti.read_labels(path).shape == (1, 20, 30)
    write_nifti(path, labels + np.float32(0.25))
    with pytest.raises(InputError, match="is no label map: it holds other values than 0, 1, 2"):
        nifti.read_labels(path)
    write_nifti(path, labels.astype(np.int16) - 1)
    with pytest.raises(InputError, match="is no label map"):
        nifti.read_labels(path)


def test_files_cut_short(tmp_path):
    plain, packed = (write_nifti(tmp_path / f"x{s}", VIDEO) for s in (".nii", ".nii.gz"))
    for path in (plain, packed):
        whole = path.read_bytes()
        for share in (0.97, 0.6):
            path.write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(InputError, match=r"damaged or truncated: [0-9,]+ of 2,752 bytes"):
                probe(path)
        path.write_bytes(whole[:90])
        with pytest.raises(InputError, match=str(path)):
            read_gray(path)


def test_a_compressed_file_of_several_parts(tmp_path):
    path = write_nifti(tmp_path / "x.nii", VIDEO)
    data = path.read_bytes()
    parts = tmp_path / "y.nii.gz"
    parts.write_bytes(gzip.compress(data[:1000]) + gzip.compress(data[1000:]))
    assert (read_gray(parts)[0] == VIDEO).all()


def test_what_is_no_picture(tmp_path):
    path = tmp_path / "x.nii.gz"
    path.write_text("a note")
    with pytest.raises(InputError, match=r"x.nii.gz cannot be read \(.*\); copy it again"):
        read_gray(path)
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6, 7), np.uint8), np.eye(4)), path)
    with pytest.raises(InputError, match=r"has the axes \(4, 5, 6, 7\); give \(x, y\) or"):
        read_gray(path)
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5), np.complex64), np.eye(4)), path)
    with pytest.raises(InputError, match="holds complex64 values"):
        read_gray(path)
    write_nifti(path, np.full((4, 5), np.nan, np.float32))
    with pytest.raises(InputError, match="values that are not finite"):
        read_gray(path)


def test_a_header_that_claims_too_much(tmp_path):
    path = write_nifti(tmp_path / "x.nii", VIDEO)
    data = bytearray(path.read_bytes())
    data[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"claims 30,000 frames and 27,000.0 GB"):
        read_gray(path)


def test_noise_that_unpacks_is_damage(tmp_path):
    path = tmp_path / "x.nii.gz"
    pixels = np.random.default_rng(0).integers(0, 256, (4, 40, 30), np.uint8)
    write_nifti(path, pixels)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.nii\.gz (cannot be read|is damaged)"):
        read_gray(path)
