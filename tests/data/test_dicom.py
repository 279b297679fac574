"""DICOM ultrasound files as videos: pixels, region, rate, scale; nothing else of them."""

from __future__ import annotations

import io
import logging
import os

import numpy as np
import pytest
from medical_files import IDENTIFIERS, marked, write_dicom

from echoflow.data import dicom
from echoflow.data.medical import medical_format
from echoflow.data.video import STILL_FPS, probe, read_gray
from echoflow.types import InputError

pytest.importorskip("pydicom")

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (4, 20, 30), dtype=np.uint8)
SMOOTH = np.tile(np.arange(0, 240, 8, dtype=np.uint8), (4, 24, 1))
COLOUR = np.stack([SMOOTH, SMOOTH // 2, SMOOTH // 3], axis=-1)


@pytest.mark.parametrize("syntax", ["raw", "implicit", "rle"])
def test_grey_frames_are_exact(tmp_path, syntax):
    path = write_dicom(tmp_path / "x.dcm", NOISE, syntax=syntax)
    video, fps = read_gray(path)
    assert (video == NOISE).all()
    assert fps == 50
    assert probe(path) == (4, 20, 30, 50.0)
    assert read_gray(path, "keep")[0].shape == (4, 20, 30, 3)


def test_files_without_a_suffix(tmp_path):
    path = write_dicom(tmp_path / "1.2.840.99", NOISE)
    assert (read_gray(path)[0] == NOISE).all()


def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert medical_format(tmp_path / "pipe") is None
    assert medical_format(tmp_path / "none") is None


def test_colours_become_luma_or_mean(tmp_path):
    path = write_dicom(tmp_path / "x.dcm", COLOUR, "RGB")
    weights = np.array([0.299, 0.587, 0.114])
    assert np.abs(read_gray(path)[0] - COLOUR @ weights).max() <= 0.6
    assert np.abs(read_gray(path, "mean")[0] - COLOUR.mean(-1)).max() <= 0.5
    assert (read_gray(path, "keep")[0] == COLOUR).all()


def test_jpeg_frames(tmp_path):
    grey = write_dicom(tmp_path / "g.dcm", SMOOTH, syntax="jpeg")
    assert np.abs(read_gray(grey)[0].astype(int) - SMOOTH).max() <= 4
    colour = write_dicom(tmp_path / "c.dcm", COLOUR, "YBR_FULL_422", "jpeg")
    luma = COLOUR @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read_gray(colour)[0] - luma).max() <= 5
    assert np.abs(read_gray(colour, "mean")[0] - COLOUR.mean(-1)).max() <= 6


def test_other_photometries(tmp_path):
    inverted = write_dicom(tmp_path / "i.dcm", NOISE, "MONOCHROME1")
    assert (read_gray(inverted)[0] == 255 - NOISE).all()
    deep = NOISE.astype(np.uint16) << 4
    twelve = write_dicom(tmp_path / "d.dcm", deep, tags={"BitsStored": 12, "HighBit": 11})
    assert (read_gray(twelve)[0] == NOISE).all()
    ramp = (np.arange(256) * 257).astype(np.uint16).tobytes()
    tables = {f"{c}PaletteColorLookupTableData": ramp for c in ("Red", "Green", "Blue")}
    heads = {name.replace("Data", "Descriptor"): [256, 0, 16] for name in tables}
    palette = write_dicom(tmp_path / "p.dcm", NOISE, "PALETTE COLOR", tags={**heads, **tables})
    assert (read_gray(palette)[0] == NOISE).all()


def test_the_picture_is_cut_to_its_region(tmp_path):
    path = write_dicom(tmp_path / "x.dcm", NOISE, region=(3, 5, 19, 25))
    assert (read_gray(path)[0] == NOISE[:, 3:19, 5:25]).all()
    loop = dicom.describe(path)
    assert (loop.height, loop.width) == (16, 20)
    assert loop.region is not None
    assert loop.region.mm_per_px == pytest.approx((0.5, 1.0))
    unscaled = write_dicom(tmp_path / "y.dcm", NOISE, region=(3, 5, 19, 25), cm_per_px=None)
    region = dicom.describe(unscaled).region
    assert region is not None
    assert region.mm_per_px is None


def test_the_largest_tissue_region_counts(tmp_path):
    regions = [
        marked((0, 0, 20, 30), 0.05, spatial=3),  # a spectrum
        marked((0, 0, 6, 6), 0.05),
        marked((2, 2, 14, 12), 0.05),
        marked((50, 50, 90, 90), 0.05),  # not in the picture
    ]
    path = write_dicom(tmp_path / "x.dcm", NOISE, tags={"SequenceOfUltrasoundRegions": regions})
    assert read_gray(path)[0].shape == (4, 12, 10)
    spectrum = write_dicom(
        tmp_path / "y.dcm", NOISE, tags={"SequenceOfUltrasoundRegions": regions[:1]}
    )
    loop = dicom.describe(spectrum)
    assert loop.marked
    assert loop.region is None


@pytest.mark.parametrize(
    ("tags", "fps"),
    [
        ({"FrameTime": "31.25"}, 32.0),
        ({"FrameTime": None, "FrameTimeVector": ["0", "20", "30", "10"]}, 50.0),
        ({"FrameTime": None, "CineRate": "40"}, 40.0),
        ({"FrameTime": "0", "RecommendedDisplayFrameRate": "25"}, 25.0),
        ({"FrameTime": None}, None),
    ],
)
def test_frames_per_second(tmp_path, tags, fps):
    path = write_dicom(tmp_path / "x.dcm", NOISE, tags=tags)
    assert dicom.describe(path).fps == fps
    assert read_gray(path)[1] == (fps or STILL_FPS)


def test_a_still(tmp_path):
    path = write_dicom(
        tmp_path / "x.dcm", NOISE[:1], frame_time=None, tags={"NumberOfFrames": None}
    )
    assert probe(path) == (1, 20, 30, STILL_FPS)
    assert (read_gray(path)[0] == NOISE[:1]).all()


def test_a_name_that_follows_from_pixels_alone(tmp_path):
    one = write_dicom(tmp_path / "a.dcm", NOISE)
    same = write_dicom(tmp_path / "deep" / "b.dcm", NOISE, tags={"PatientName": "Other^Person"})
    other = write_dicom(tmp_path / "c.dcm", NOISE[::-1])
    names = [dicom.fingerprint(path) for path in (one, same, other)]
    assert names[0] == names[1] != names[2]
    assert len(names[0]) == 16
    rle = [
        dicom.fingerprint(write_dicom(tmp_path / f"{n}.dcm", v, syntax="rle"))
        for n, v in (("d", NOISE), ("e", NOISE[::-1]))
    ]
    assert len({*names, *rle}) == 4
    assert dicom.person(one) is not None
    assert dicom.person(one) == dicom.person(same)
    nobody = write_dicom(tmp_path / "f.dcm", NOISE, tags={"PatientID": ""})
    assert dicom.person(nobody) is None


def test_damage_is_one_sentence_without_the_parsers_words(tmp_path):
    path = write_dicom(tmp_path / "x.dcm", NOISE, syntax="rle")
    whole = path.read_bytes()
    for cut in (100, 140, 500, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError) as error:
            read_gray(path)
        assert str(error.value).startswith(str(path))
        assert not any(value in str(error.value) for value in IDENTIFIERS.values())
    path.write_text("no picture at all")
    with pytest.raises(InputError, match="is no DICOM file; copy it again"):
        read_gray(path)
    write_dicom(path, NOISE, tags={"Rows": None})
    with pytest.raises(InputError, match="a report or a waveform is no video"):
        read_gray(path)
    write_dicom(path, NOISE, tags={"NumberOfFrames": 2_000_000_000})
    with pytest.raises(InputError, match=r"claims 2,000,000,000 frames and 1,200.0 GB"):
        read_gray(path)
    write_dicom(path, NOISE, tags={"NumberOfFrames": 40})
    with pytest.raises(InputError, match=r"truncated: 3,[0-9]+ of 24,000 bytes are there"):
        probe(path)


def test_a_file_compressed_as_a_whole(tmp_path):
    import pydicom
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    path = write_dicom(tmp_path / "x.dcm", NOISE)
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(path, enforce_file_format=True)
    with pytest.raises(InputError, match="deflated"):
        read_gray(path)


def test_the_parser_is_kept_quiet(tmp_path, recwarn, caplog):
    """Its warnings quote what it does not like, and that may be a name."""
    path = write_dicom(tmp_path / "x.dcm", NOISE)
    data = path.read_bytes().replace(b"19530412", b"born1953")
    path.write_bytes(data)
    handler = logging.StreamHandler(text := io.StringIO())
    logging.getLogger().addHandler(handler)
    try:
        for read in (read_gray, dicom.fingerprint, dicom.person):
            read(path)
    finally:
        logging.getLogger().removeHandler(handler)
    assert not recwarn.list
    assert text.getvalue() == caplog.text == ""


def test_without_the_extra(tmp_path, monkeypatch):
    path = write_dicom(tmp_path / "x.dcm", NOISE)

    def missing(name: str):
        raise ImportError(name)

    monkeypatch.setattr("echoflow.data.medical.importlib.import_module", missing)
    with pytest.raises(InputError, match=r'pip install -e "\.\[medical\]" installs it'):
        read_gray(path)
