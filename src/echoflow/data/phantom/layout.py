"""Phantom clips on disk, in the layout of one of the datasets of this field.

Every layout has its real quirks, so that readers are tried on whole datasets whose truth is known
(see `sidecar`); defects can be planted on top (see `dialects.defects`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from echoflow.data.phantom.clip import PhantomClip
from echoflow.data.phantom.dialects import camus, dynamic, lvh, pediatric
from echoflow.data.phantom.dialects.defects import DEFECT_LIST, Defect, Planted, plant
from echoflow.data.phantom.dialects.defects_camus import CAMUS
from echoflow.data.phantom.dialects.defects_dynamic import DYNAMIC
from echoflow.data.phantom.dialects.defects_lvh import LVH
from echoflow.data.phantom.dialects.defects_pediatric import PEDIATRIC
from echoflow.data.phantom.dialects.tables import Tables
from echoflow.data.phantom.sidecar import (
    CARD,
    KNOWN_COLUMNS,
    TABLE,
    TRUTH,
    Known,
    known_cells,
    read_known,
    read_truth,
    truth_path,
    write_card,
    write_truth,
)
from echoflow.files import new_folder
from echoflow.types import InputError, View, choose

__all__ = [
    "CARD",
    "LAYOUTS",
    "TRUTH",
    "Known",
    "Layout",
    "Planted",
    "read_defects",
    "read_known",
    "read_truth",
    "truth_path",
    "write_dynamic",
    "write_layout",
]


@dataclass(frozen=True)
class Layout:
    """How a dataset of this field lies on disk.

    `views` are those that it can hold and `default` those that it holds unless asked otherwise;
    `gated` layouts start at end-diastole. `write` puts one clip under a folder and returns what is
    known about each video that it wrote.
    """

    name: str
    views: tuple[View, ...]
    default: tuple[View, ...]
    cohort: str
    gated: bool
    write: Callable[[PhantomClip, int, Path, Tables], tuple[Known, ...]]
    defects: tuple[Defect, ...]


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("dynamic", tuple(View), (View.A4C,), "adult", False, dynamic.write, DYNAMIC),
        Layout(
            "pediatric",
            (View.A4C, View.PSAX),
            (View.A4C, View.PSAX),
            "paediatric",
            False,
            pediatric.write,
            PEDIATRIC,
        ),
        Layout("lvh", (View.PLAX,), (View.PLAX,), "adult", False, lvh.write, LVH),
        Layout("camus", (View.A4C,), (View.A4C,), "adult", True, camus.write, CAMUS),
    )
}


def write_layout(
    name: str,
    clips: Iterable[PhantomClip],
    root: str | Path,
    spec: Mapping[str, Any] | None = None,
    defects: Sequence[str] = (),
) -> tuple[Planted, ...]:
    """Streams clips to a new dataset folder; nothing appears under `root` before all are written.

    `spec`, what the clips were asked to be (seed, cohort ...), goes into phantom.json. `defects`
    names what is planted, or is ("all",); where is returned, and told in defects.json.
    `InputError`: no clips, two of one name, a view that the layout has not, too few clips for the
    defects, a folder that cannot be written.
    """
    layout = LAYOUTS[choose(name, LAYOUTS, "layout")]
    wanted = _chosen(layout, defects)
    with new_folder(root) as work:
        with Tables(work) as tables:
            known = list(_numbered(layout, clips, work, tables))
        records = [each.record for together in known for each in together]
        patients = len({record.patient for record in records})
        write_card(work, layout.name, len(records), patients, spec or {})
        planted = plant(work, known, wanted, seed=int((spec or {}).get("seed", 0)))
        if planted:
            text = json.dumps([asdict(one) for one in planted], indent=2)
            (work / DEFECT_LIST).write_text(text + "\n")
    return planted


def read_defects(root: str | Path) -> tuple[Planted, ...]:
    """What was planted in a dataset, by its defects.json."""
    path = Path(root) / DEFECT_LIST
    if not path.is_file():
        raise InputError(f"there is no {DEFECT_LIST} in {root}; plant defects to have one.")
    entries = json.loads(path.read_text(encoding="utf-8"))
    return tuple(Planted(**{**entry, "videos": tuple(entry["videos"])}) for entry in entries)


def write_dynamic(
    clips: Iterable[PhantomClip], root: str | Path, spec: Mapping[str, Any] | None = None
) -> None:
    """`write_layout` for EchoNet-Dynamic, without defects."""
    write_layout("dynamic", clips, root, spec)


def _numbered(
    layout: Layout, clips: Iterable[PhantomClip], work: Path, tables: Tables
) -> Iterator[tuple[Known, ...]]:
    """Writes each clip with its truth; yields what is known about its videos."""
    seen: set[str] = set()
    for number, each in enumerate(clips):
        uid = each.clip.uid
        if uid in seen:
            raise InputError(f"two phantom clips are called {uid}; each must differ.")
        seen.add(uid)
        if each.clip.view not in layout.views:
            able = ", ".join(view.name for view in layout.views)
            raise InputError(
                f"the layout {layout.name} holds {able}, not {each.clip.view.name}; "
                "choose another view or another layout."
            )
        (work / TRUTH).mkdir(exist_ok=True)
        if layout.name == "dynamic":
            (work / "Videos").mkdir(exist_ok=True)
        known = layout.write(each, number, work, tables)
        tables.add(TABLE, KNOWN_COLUMNS, map(known_cells, known))
        write_truth(truth_path(work, known[0].record.uid), each.truth)
        yield known
    if not seen:
        raise InputError("there are no clips to write; ask for at least one.")


def _chosen(layout: Layout, names: Sequence[str]) -> tuple[Defect, ...]:
    """The defects of a layout by name; all of them for ("all",)."""
    if tuple(names) == ("all",):
        return layout.defects
    known = {defect.called: defect for defect in layout.defects}
    what = f"defect of the layout {layout.name}"
    return tuple(known[choose(name, known, what)] for name in dict.fromkeys(names))
