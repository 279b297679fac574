"""The page is one file, escapes what it is given, and says the same in markdown."""

from html.parser import HTMLParser

import numpy as np
import pytest

from echoflow.metrics import figures
from echoflow.metrics.page import Page, Picture, Section, Table, to_html, to_markdown


@pytest.fixture(scope="module")
def page() -> Page:
    scatter = figures.asked_measured({"A4C": ([20, 60], [25, 55])}, floor=4.0)
    pictures = [
        Picture(scatter, "scatter.png", "A caption with 3 < 4.", "points"),
        Picture(b"video", "beat.mp4", "A beat.", 'a "beating" heart'),
    ]
    table = Table(["view", "MAE"], [["A4C", "5.0"], ["PSAX", "6.1"]])
    section = Section("EF & more", ["Run `echoflow synthesise`."], pictures, table)
    return Page("Title", "Lead.", [("24", "videos")], [section], "The end.")


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_well_formed_and_needs_no_other_file(page: Page) -> None:
    reader = Reader()
    text = to_html(page)
    reader.feed(text)
    assert not reader.open
    kinds = [source.split(",")[0] for source in reader.sources]
    assert kinds == ["data:image/png;base64", "data:video/mp4;base64"]
    assert "3 &lt; 4" in text
    assert "EF &amp; more" in text
    assert "<code>echoflow synthesise</code>" in text
    assert "http:" not in text
    assert "https:" not in text


def test_markdown_says_the_same_and_links_files(page: Page) -> None:
    text = to_markdown(page)
    assert "- **24** videos" in text
    assert "| PSAX | 6.1 |" in text
    assert "![points](scatter.png)" in text
    assert '[Video: a "beating" heart](beat.mp4)' in text


def test_figures_are_png_and_the_same_every_time() -> None:
    rng = np.random.default_rng(0)
    kept, unseen = rng.normal(0.9, 0.02, 40), rng.normal(0.9, 0.02, 40)
    first = figures.similarities({"kept": kept, "unseen": unseen, "none": []}, {"A4C": 0.95})
    again = figures.similarities({"kept": kept, "unseen": unseen, "none": []}, {"A4C": 0.95})
    assert first[:4] == b"\x89PNG"
    assert first == again
    rows = [[np.zeros((12, 12), np.uint8)] * 2, [np.zeros((12, 12), np.uint8)]]
    assert figures.contact_sheet(rows, ["a", "b"], [["x", "y"], []])[:4] == b"\x89PNG"


def test_videos_are_captioned_and_set_side_by_side() -> None:
    video = np.full((3, 20, 30), 7, np.uint8)
    tall = figures.captioned(video, "EF 50 %", scale=2)
    assert tall.shape == (3, 62, 60)
    assert (tall[:, 22:] == 7).all()
    assert tall[:, :22].max() > 200
    assert figures.side_by_side([tall, tall], gap=4).shape == (3, 62, 124)
