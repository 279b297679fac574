"""Which EF regressor measures videos, and whether it can know them.

It comes with weights (a bundle or release), alone in the folder of its network, or as the run that
trained it. The regressor of nano has seen phantoms only; of recordings it says nothing reliable.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from echoflow.judges import Regressor
from echoflow.networks import zoo
from echoflow.networks.heads import EFRegressor
from echoflow.networks.trunks import R2Plus1D
from echoflow.pipeline import NANO, load
from echoflow.training.folder import RECIPE
from echoflow.types import InputError, Record

UNKNOWN = (
    f"the EF regressor of {NANO} knows phantoms only, and these videos are none: trust no EF here; "
    "the row of the real clips shows how far it is off."
)


def regressor_of(weights: str) -> Regressor:
    """The EF regressor of weights by name or folder, of a network's folder, or of a finished run.

    `InputError`: there is none.
    """
    folder = _alone(weights)
    if folder is None:
        found = load(weights).regressor
        if not isinstance(found, Regressor):
            raise InputError(
                f"the weights {weights} have no EF regressor; name others by --judge, or the "
                "folder of an EF network or of its training."
            )
        return found
    net = zoo.load(folder)
    if not isinstance(net, EFRegressor | R2Plus1D):
        raise InputError(f"{folder} holds a {type(net).__name__}; give an EF regressor.")
    return Regressor(net)


def ruler(judge: str | None, records: Iterable[Record]) -> str:
    """The weights that measure these videos: those asked for, or nano for phantoms.

    `InputError`: none are asked for and the videos are no phantoms.
    """
    if judge is None and not _phantoms(records):
        raise InputError(
            f"the EF regressor of {NANO} knows phantoms only, and these videos are none. Name what "
            "measures their EF: --judge WEIGHTS, or the folder of an EF network or of its "
            "training, such as that of `echoflow train EF-real-dynamic`."
        )
    return judge or NANO


def caveats(judge: str, records: Iterable[Record]) -> tuple[str, ...]:
    """What must be read with the EFs that `judge` measures on these videos."""
    return (UNKNOWN,) if judge == NANO and not _phantoms(records) else ()


def _phantoms(records: Iterable[Record]) -> bool:
    return all(record.source == "phantom" for record in records)


def _alone(weights: str) -> Path | None:
    """The folder of a network by itself, of that name or in a run; None for other weights."""
    folder = Path(weights).expanduser()
    for place in (folder / "net", folder):
        if (place / "config.json").is_file():
            return place
    if (folder / RECIPE).is_file():
        raise InputError(f"{folder} has not finished; go on with `echoflow train ... --resume`.")
    return None
