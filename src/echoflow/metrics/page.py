"""A report as one page: HTML with its pictures and videos inside, and markdown beside it."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

MIME = {"png": "image/png", "gif": "image/gif", "mp4": "video/mp4"}

STYLE = """
:root { color-scheme: light dark; --paper: #fbfbf9; --ink: #1f2a33; --faint: #5d6a75;
  --line: #d9dee2; --card: #ffffff; --mark: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181c; --ink: #e4e8eb; --faint: #9aa6b0;
  --line: #2c343b; --card: #1b2127; --mark: #6cb8e6; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 17px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 3rem 1.25rem 5rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .6rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 0 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; }
.lead { font-size: 1.1rem; color: var(--faint); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .8rem;
  margin: 1.6rem 0 2rem; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.55rem; line-height: 1.2; color: var(--mark);
  font-variant-numeric: tabular-nums; }
.tile span { font-size: .85rem; color: var(--faint); }
section { border-top: 1px solid var(--line); padding: 1.8rem 0 .6rem; }
figure { margin: 1rem 0; }
figure img, figure video { display: block; max-width: 100%; height: auto; border-radius: 8px;
  border: 1px solid var(--line); background: #000; }
figure img { background: #fff; }
figcaption { font-size: .9rem; color: var(--faint); margin-top: .5rem; max-width: 46rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums;
  font-size: .92rem; }
th, td { text-align: right; padding: .3rem .8rem; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--faint); font-weight: 600; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
code { font-size: .9em; background: var(--card); border: 1px solid var(--line); border-radius: 5px;
  padding: .05em .35em; }
footer { border-top: 1px solid var(--line); margin-top: 2rem; padding-top: 1rem;
  font-size: .85rem; color: var(--faint); }
"""


@dataclass(frozen=True)
class Picture:
    """An image or video: its bytes for the HTML page, its file for the markdown one."""

    data: bytes
    file: str
    caption: str
    alt: str

    @property
    def kind(self) -> str:
        return self.file.rsplit(".", 1)[-1]


@dataclass(frozen=True)
class Table:
    """Rows of cells below a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs, then a table and pictures."""

    title: str
    paragraphs: Sequence[str]
    pictures: Sequence[Picture] = ()
    table: Table | None = None


@dataclass(frozen=True)
class Page:
    """`tiles` are the headline figures: (value, what it is)."""

    title: str
    lead: str
    tiles: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    footer: str


def to_html(page: Page) -> str:
    """One self-contained file: no script, no network; light or dark as the reader's system is."""
    tiles = "".join(
        f'<div class="tile"><b>{_text(value)}</b><span>{_text(what)}</span></div>'
        for value, what in page.tiles
    )
    body = "".join(_section(section) for section in page.sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(page.title)}</title><style>{STYLE}</style></head><body><main>"
        f'<h1>{_text(page.title)}</h1><p class="lead">{_text(page.lead)}</p>'
        f'<div class="tiles">{tiles}</div>{body}<footer>{_text(page.footer)}</footer>'
        "</main></body></html>\n"
    )


def to_markdown(page: Page, folder: str = "") -> str:
    """The same content for a terminal or a code host; pictures are linked by file in `folder`."""
    parts = [f"# {page.title}", page.lead]
    parts.append("\n".join(f"- **{value}** {what}" for value, what in page.tiles))
    for section in page.sections:
        parts += [f"## {section.title}", *section.paragraphs]
        if section.table:
            parts.append(_markdown_table(section.table))
        parts += [_markdown_picture(picture, folder) for picture in section.pictures]
    return "\n\n".join([*parts, "---", page.footer]) + "\n"


def _section(section: Section) -> str:
    paragraphs = "".join(f"<p>{_text(text)}</p>" for text in section.paragraphs)
    table = _table(section.table) if section.table else ""
    pictures = "".join(_figure(picture) for picture in section.pictures)
    return f"<section><h2>{_text(section.title)}</h2>{paragraphs}{table}{pictures}</section>"


def _figure(picture: Picture) -> str:
    source = f"data:{MIME[picture.kind]};base64,{base64.b64encode(picture.data).decode()}"
    alt = html.escape(picture.alt)
    media = (
        f'<video src="{source}" aria-label="{alt}" autoplay loop muted playsinline controls>'
        "</video>"
        if picture.kind == "mp4"
        else f'<img src="{source}" alt="{alt}">'
    )
    return f"<figure>{media}<figcaption>{_text(picture.caption)}</figcaption></figure>"


def _table(content: Table) -> str:
    head = "".join(f"<th>{_text(cell)}</th>" for cell in content.header)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>"
        for row in content.rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _text(text: str) -> str:
    """Escaped, with `code` between backticks."""
    pieces = html.escape(text).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(pieces))


def _markdown_table(table: Table) -> str:
    lines = [table.header, [":--", *["--:"] * (len(table.header) - 1)], *table.rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _markdown_picture(picture: Picture, folder: str) -> str:
    link = "" if picture.kind == "mp4" else "!"
    text = f"Video: {picture.alt}" if picture.kind == "mp4" else picture.alt
    place = f"{folder}/{picture.file}" if folder else picture.file
    return f"{link}[{text}]({place})\n\n{picture.caption}"
