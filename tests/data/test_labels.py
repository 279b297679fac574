"""Label maps: three layouts into one, the wall and sector that are made, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from echoflow.data.labels import (
    Label,
    Layout,
    fan,
    in_free_echo,
    layout_of,
    load_labels,
    planes,
    read_labels,
    resized,
    sector_of,
    with_wall,
)
from echoflow.data.phantom import PhantomPatient
from echoflow.data.video import write_video
from echoflow.freeecho.pseudo import pseudo_video
from echoflow.types import InputError, View


def cavity(side: int = 112) -> np.ndarray:
    """An upright ellipse in the middle of the sector."""
    y, x = np.mgrid[:side, :side] / side
    return (((x - 0.55) / 0.12) ** 2 + ((y - 0.45) / 0.25) ** 2 < 1).astype(np.uint8)


def erosion(mask: np.ndarray, n: int) -> np.ndarray:
    """What is left of a mask without a border of `n` pixels."""
    return binary_erosion(mask, np.ones((3, 3)), n).astype(np.uint8)


@pytest.mark.parametrize("value", [1, 255])
@pytest.mark.parametrize("side", [112, 256])
def test_a_cavity_gets_a_wall_that_grows_with_the_map(value: int, side: int) -> None:
    labels = in_free_echo(cavity(side) * value)
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    assert np.array_equal(labels == Label.CAVITY, cavity(side) == 1)
    row = labels[int(0.45 * side)]
    assert (row == Label.MYOCARDIUM).sum() == 2 * {112: 4, 256: 10}[side]
    assert np.array_equal(labels > 0, fan(side, side))


def test_the_wall_is_that_of_five_dilations_by_five_pixels() -> None:
    """As the released code makes it, by another library function."""
    mask = cavity(256) > 0
    grown = binary_dilation(mask, np.ones((5, 5)), iterations=5)
    assert np.array_equal(with_wall(mask) > 0, grown)
    assert np.array_equal(with_wall(mask, 10), with_wall(mask))


def test_camus_counts_without_the_sector() -> None:
    labels = with_wall(cavity() > 0)
    camus = np.where(labels > 0, labels - 1, 0).astype(np.uint8)
    camus[90:95, 60:66] = 3
    found = in_free_echo(camus, "camus")
    assert (found[90:95, 60:66] == Label.ATRIUM).all()
    for there, here in ((1, Label.CAVITY), (2, Label.MYOCARDIUM)):
        assert np.array_equal(found == here, (camus == there) & fan(112, 112))


def atrium() -> np.ndarray:
    """bool (112, 112): a square that begins where the cavity ends."""
    y, x = np.mgrid[:112, :112] / 112
    return (np.abs(x - 0.55) < 0.08) & (y > 0.7) & (y < 0.8)


@pytest.mark.parametrize("value", [1, 2])
def test_a_ventricle_alone_is_a_cavity_in_every_layout(value: int) -> None:
    """With the wall and the sector that are made, so that its picture has more than one grey."""
    found = in_free_echo(cavity() * value, "camus" if value == 1 else "auto")
    assert np.array_equal(found, in_free_echo(cavity()))
    assert pseudo_video(found[None], 112).std() > 40


def test_a_wall_is_made_within_the_sector_that_is_drawn() -> None:
    narrow = fan(112, 112) & (np.arange(112) > 48)
    drawn = np.where(narrow, 1 + cavity(), 0)
    found = in_free_echo(drawn, "free-echo")
    assert np.array_equal(found > 0, narrow)
    assert np.array_equal(found == Label.CAVITY, drawn == Label.CAVITY)
    made = found == Label.MYOCARDIUM
    assert np.array_equal(made, (with_wall(drawn == 2) == Label.MYOCARDIUM) & narrow)
    assert made.any()


@pytest.mark.parametrize("layout", ["free-echo", "camus"])
def test_a_wall_that_is_made_covers_no_atrium(layout: Layout) -> None:
    values = (2, 4) if layout == "free-echo" else (1, 3)
    drawn = np.where(atrium(), values[1], values[0] * cavity())
    found = in_free_echo(drawn, layout)
    assert np.array_equal(found == Label.ATRIUM, atrium())
    assert (with_wall(cavity() > 0)[atrium()] == Label.MYOCARDIUM).any()
    assert (found == Label.MYOCARDIUM).sum() > cavity().sum() / 3


@pytest.mark.parametrize("lowest", [0, 1])
def test_a_myocardium_that_is_drawn_is_all_there_is(lowest: int) -> None:
    """Also where it leaves a side of the cavity open, and the sector is not drawn."""
    labels = np.maximum(with_wall(cavity() > 0, 2), lowest)
    labels[:50][labels[:50] == Label.MYOCARDIUM] = lowest
    assert np.array_equal(in_free_echo(labels, "free-echo"), labels)


@pytest.mark.parametrize("layout", ["cavity", "camus"])
def test_a_guessed_sector_cuts_nothing_that_is_drawn(layout: Layout) -> None:
    wide = np.roll(cavity(), 24, axis=1)  # across the right border of the fan
    ring = with_wall(wide > 0)
    drawn = wide if layout == "cavity" else np.where(ring > 0, ring - 1, 0)
    found = in_free_echo(drawn, layout)
    assert (wide[~fan(112, 112)] > 0).sum() > 0.05 * wide.sum()
    assert np.array_equal(found == Label.CAVITY, wide > 0)
    assert np.array_equal(found > 0, fan(112, 112) | (drawn > 0))
    cut = in_free_echo(drawn, layout, fan(112, 112))
    assert np.array_equal(cut == Label.CAVITY, (wide > 0) & fan(112, 112))


def test_a_map_with_its_sector_stays_as_it_is() -> None:
    labels = in_free_echo(cavity())
    assert np.array_equal(in_free_echo(labels, "free-echo"), labels)
    narrow = fan(112, 112) & (np.arange(112) > 30)
    cut = in_free_echo(labels, "free-echo", sector=narrow)
    assert np.array_equal(cut > 0, narrow)


@pytest.mark.parametrize("view", list(View))
def test_the_sector_of_a_phantom_is_found_and_the_fan_is_like_it(view: View) -> None:
    made = PhantomPatient.sample(77, 0, "adult").render(view, 6, 8.0, quality=1, phase=0.0)
    found, usual = sector_of(made.clip.video), fan(112, 112)
    assert (found & usual).sum() / (found | usual).sum() > 0.9
    assert (made.truth.mask[0] & ~found).sum() <= 0.02 * made.truth.mask[0].sum()
    lettered = made.clip.video.copy()
    lettered[:, 2:8, 2:6] = 255
    assert np.array_equal(sector_of(lettered), found)
    assert not sector_of(np.zeros((2, 9, 9), np.uint8)).any()


def test_planes_and_sizes() -> None:
    labels = in_free_echo(cavity())
    small = resized(np.stack([labels, labels]), 28, 56)
    assert small.shape == (2, 28, 56)
    assert np.array_equal(resized(labels, 224, 224)[::2, ::2], labels)
    found = planes(small)
    assert found.shape == (2, 4, 28, 56)
    assert np.array_equal(found.argmax(1).numpy() + found.sum(1).numpy(), small)


def test_an_image_is_read_and_its_name_told(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(cavity() * 255).save(path)
    assert np.array_equal(in_free_echo(read_labels(path)), in_free_echo(cavity()))
    Image.fromarray(cavity() * 7).save(path)
    with pytest.raises(InputError, match=r"mask\.png: the label map holds 7; the layout free-echo"):
        read_labels(path)


def test_labels_of_16_bits_and_of_a_palette_are_numbers(tmp_path: Path) -> None:
    path, five = tmp_path / "map.png", in_free_echo(cavity())
    wide = np.where(cavity(), 65535, 0).astype(np.uint16)
    for values, wanted in ((five.astype(np.uint16), five), (wide, 255 * cavity())):
        Image.fromarray(values).save(path)
        assert np.array_equal(read_labels(path, "auto" if values is wide else "free-echo"), wanted)
    for colours, wanted in (([0, 0, 0, 200, 0, 0], cavity()), ([0] * 3 + [255] * 3, wide >> 8)):
        picture = Image.fromarray(cavity().astype(np.uint8))
        picture.putpalette(colours + [0] * (768 - 6))
        picture.save(path)
        assert np.array_equal(read_labels(path), wanted)


@pytest.mark.parametrize(
    ("kind", "value"), [(np.uint16, 600), (np.uint16, 1000), (np.float32, 0.5), (np.int32, -3)]
)
def test_wide_numbers_that_are_no_labels_are_refused(
    kind: type, value: float, tmp_path: Path
) -> None:
    path, labels = tmp_path / "map.tif", in_free_echo(cavity()).astype(kind)
    Image.fromarray(labels).save(path)
    assert np.array_equal(read_labels(path, "free-echo"), labels)
    labels[0, 0] = value
    Image.fromarray(labels).save(path)
    with pytest.raises(InputError, match=rf"map\.tif: the label map holds {value:g}, which is no"):
        read_labels(path, "free-echo")


def test_nifti_labels_are_numbers_and_nothing_is_rounded(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")

    def written(values: np.ndarray) -> Path:
        path = tmp_path / "map.nii.gz"
        nibabel.Nifti1Image(values.T, np.eye(4)).to_filename(path)
        return path

    five = in_free_echo(cavity())
    for kind in (np.uint8, np.int16, np.float32):
        assert np.array_equal(read_labels(written(five.astype(kind)), "free-echo"), five)
    for odd in (np.float32(0.6) * five, 2 * cavity().astype(np.int16) - 1, 600 * five.astype(int)):
        with pytest.raises(
            InputError, match=r"map\.nii\.gz is no label map: it holds other values"
        ):
            read_labels(written(odd.astype(np.float32)))


def test_a_picture_in_colours_is_no_map(tmp_path: Path) -> None:
    """Five labels in the red channel look like a cavity to whoever takes their brightness."""
    path, five = tmp_path / "map.png", in_free_echo(cavity())
    red = np.stack([five, 0 * five, 0 * five], axis=-1)
    Image.fromarray(red).save(path)
    with pytest.raises(InputError, match=r"map\.png is a picture in colours, which are no labels"):
        read_labels(path)
    Image.fromarray(np.repeat(five[..., None], 3, axis=-1)).save(path)
    assert np.array_equal(read_labels(path, "free-echo"), five)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (255 - 255 * cavity(), "has 255 in all four corners; draw the left ventricle as 255 on 0"),
        (255 * (cavity() - erosion(cavity(), 3)), "only the outline .* is drawn; fill it"),
        (255 * (np.arange(112 * 112) == 7000).reshape(112, 112), "nowhere 3 pixels wide at 112x"),
        (2 * (np.arange(112) == 60) * (cavity() > 0), "nowhere 3 pixels wide at 112x112; draw"),
    ],
)
def test_ventricles_that_cannot_beat_are_refused(
    picture: np.ndarray, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "map.png"
    Image.fromarray(picture.astype(np.uint8)).save(path)
    with pytest.raises(InputError, match=rf"map\.png: .*{message}"):
        load_labels(path, 112)


def test_sectors_that_are_none_are_refused(tmp_path: Path) -> None:
    path, cone = tmp_path / "map.png", tmp_path / "cone.png"
    Image.fromarray(cavity() * 255).save(path)
    few = np.where(np.indices((112, 112)).sum(0) % 4 == 0, 200, 20)
    for picture, message in (
        (fan(112, 112), r"cone\.png is nowhere brighter than half; draw the sector"),
        (few, r"map\.png: the sector leaves 2\d % of the left ventricle; give an image"),
    ):
        Image.fromarray(picture.astype(np.uint8)).save(cone)
        with pytest.raises(InputError, match=message):
            load_labels(path, 112, sector=cone)
    film = tmp_path / "cone.gif"
    write_video(film, np.stack([255 * cavity(), cavity()]), 10)
    with pytest.raises(InputError, match=r"cone\.gif has 2 frames; a sector is a single image"):
        load_labels(path, 112, sector=film)


@pytest.mark.parametrize("value", [1, 2, 255])
def test_a_map_of_one_label_is_refused(value: int) -> None:
    layout = "free-echo" if value == 2 else "auto"
    with pytest.raises(InputError, match=f"is {value} all over; draw the left ventricle in it"):
        in_free_echo(np.full((9, 9), value), layout)


def test_an_image_of_another_size_is_brought_to_that_of_a_model(tmp_path: Path) -> None:
    path, cone = tmp_path / "mask.png", tmp_path / "cone.png"
    Image.fromarray(cavity(256) * 255).save(path)
    Image.fromarray(fan(64, 64).astype(np.uint8) * 255).save(cone)
    with pytest.raises(
        InputError, match=r"mask\.png has 256x256 pixels; this model needs 112x112;"
    ):
        load_labels(path, 112)
    found = load_labels(path, 112, resize=True)
    wanted = cavity(112) > 0
    assert ((found == Label.CAVITY) & wanted).sum() > 0.97 * wanted.sum()
    narrow = load_labels(path, 112, sector=cone, resize=True)
    assert np.array_equal(narrow > 0, resized(fan(64, 64), 112, 112))
    Image.fromarray(cavity(256)[:200] * 255).save(path)
    with pytest.raises(InputError, match=r"has 200x256 pixels; .* so cut it to a square"):
        load_labels(path, 112, resize=True)


@pytest.mark.parametrize("values", [(0, 1, 2, 3, 4), (1, 2, 4), (0, 2), (0, 2, 3)])
def test_values_that_only_one_layout_can_mean_tell_it(values: tuple[int, ...]) -> None:
    assert layout_of(np.tile(values, (9, 1))) == "free-echo"


@pytest.mark.parametrize(
    ("labels", "layout", "message"),
    [
        (np.zeros((9, 9)), "auto", "all background; draw the left ventricle"),
        (np.diag([1, 2, 3]), "auto", "read in two ways: .* --layout free-echo, or camus"),
        (np.diag([1, 2]), "auto", "label 1 is the sector in the layout free-echo and the left"),
        (np.full((9, 9), 9), "auto", "holds 9; the layout free-echo has 0, 1, 2, 3, 4"),
        (np.arange(81).reshape(9, 9), "auto", r"holds 5, 6, 7, 8 \.\.\.;"),
        (np.full((9, 9), 4), "camus", "holds 4; the layout camus has 0, 1, 2, 3"),
        (np.diag([1, 255]), "cavity", "holds 1 beside 255; the layout cavity"),
        (np.ones((2, 9, 9)), "auto", r"axes \(h, w\); got shape \(2, 9, 9\)"),
        (np.ones((9, 9)), "echo", "unknown layout of a label map 'echo'"),
    ],
)
def test_maps_that_are_not_understood_are_refused(
    labels: np.ndarray, layout: Layout, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        layout_of(labels, layout)


def test_a_ventricle_outside_the_sector_is_refused() -> None:
    corner = np.zeros((112, 112), int)
    corner[:9, :9] = 1
    with pytest.raises(InputError, match=r"no left ventricle \(label 2\) inside the sector"):
        in_free_echo(corner)
    with pytest.raises(InputError, match="sector has 9x9 pixels, the label map 112x112"):
        in_free_echo(cavity(), sector=np.ones((9, 9), bool))
    with pytest.raises(InputError, match="no left ventricle"):
        in_free_echo(np.where(corner, 3, 0))
