"""The quoted numbers agree with the other places of this program that quote them."""

from __future__ import annotations

import pytest

from echoflow.networks.published import PAPER
from echoflow.reproduce.printed import ALL, SETS, printed
from echoflow.reproduce.tables import TABLES
from echoflow.training.table import TABLE_2, TABLE_8, VIDEOS
from echoflow.types import InputError

ROWS = {
    "real": "Real",
    "rec-4f4": "Reconstructed, A-VAE-4f4",
    "rec-16f8": "Reconstructed, A-VAE-16f8",
    "echodiffusion": "EchoDiffusion",
    "echosyn": "EchoNet-Synthetic",
    "npc": "EchoFlow, unfiltered",
    "pc": "EchoFlow, filtered",
}
ECHOFLOW = SETS[:4]


def test_costs_are_those_that_the_networks_are_held_against() -> None:
    for name, quoted in PAPER.items():
        table = printed(str(quoted.table))
        assert table.value(name, ALL, "params_m") == quoted.parameters
        assert table.value(name, ALL, "macs_g") == quoted.macs


def test_scores_are_those_that_the_recipes_show() -> None:
    for name, told in TABLE_2.items():
        for column, cell in zip(ECHOFLOW, told.split(), strict=True):
            value = printed("2").value(name, column, "fid")
            assert cell == "-" if value is None else float(cell) == value
    for key, row in ROWS.items():
        for column, value in zip(ECHOFLOW, TABLE_8[key].r2, strict=False):
            assert printed("8").value(row, column, "r2") == value
    for column, videos in zip(ECHOFLOW, VIDEOS.values(), strict=True):
        assert printed("7").value("videos", column, "train") == videos


def test_a_number_that_is_not_printed_is_none() -> None:
    table = printed("8")
    assert table.value("EchoDiffusion", "lvh", "r2") is None
    assert table.value("nothing", "lvh", "r2") is None
    assert "Table 8" in table.source
    with pytest.raises(InputError, match="unknown table '9'"):
        printed("9")


def test_every_table_that_is_reproduced_is_quoted() -> None:
    for key, table in TABLES.items():
        assert printed(key).rows
        assert len(set(table.metrics)) == len(table.metrics)
