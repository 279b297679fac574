"""The table of recipes: a row for every row of the paper, and a source for every value."""

from __future__ import annotations

import pytest
import yaml

from echoflow.networks import zoo
from echoflow.networks.published import PAPER as PRINTED
from echoflow.training.provenance import _READERS, CHANGED, DEFAULT, KINDS, _values, annotated
from echoflow.training.recipes import Recipe, parse
from echoflow.training.stages import MODELS
from echoflow.training.table import BEYOND, PRESETS, TABLE_8, listed, named, preset
from echoflow.types import InputError

PAPER = [name for name in PRESETS if not name.startswith(("nano-", "phantom-"))]


@pytest.mark.parametrize("name", PRESETS)
def test_every_recipe_is_whole(name: str) -> None:
    one = preset(name)
    assert isinstance(zoo.config_of(one.recipe.model), MODELS[one.recipe.stage])
    assert all(source.split(",")[0].split(":")[0] in KINDS for source in one.sources.values())
    assert yaml.safe_load(annotated(one.recipe)) == pruned(one.recipe)


@pytest.mark.parametrize("name", PAPER)
def test_the_options_of_a_row_of_the_paper_have_a_source_of_their_own(name: str) -> None:
    one = preset(name)
    engine = {"steps", "batch", "lr", "schedule", "warmup", "optimiser", "weight_decay", "clip"}
    assert {f"engine.{key}" for key in engine} <= one.sources.keys()


def pruned(recipe: Recipe) -> dict[str, object]:
    """What is printed: all but the options of other stages."""
    own = {"lifm": "flow", "lvfm": "flow"}.get(recipe.stage, recipe.stage)
    options = {"avae", "flow", "reid", "ef", "lv", "freeecho", "cascade"} - {own}
    return {key: v for key, v in recipe.model_dump(mode="json").items() if key not in options}


def test_the_rows_of_the_paper_are_there() -> None:
    printed = {name for name in PRINTED if preset(name).group != BEYOND}
    assert printed == set(PRINTED)
    assert len([name for name in PAPER if preset(name).group.startswith("Table 2")]) == 15
    assert len([name for name in PAPER if preset(name).group.startswith("Table 3")]) == 5
    assert {f"EF-{row}-dynamic" for row in TABLE_8} <= set(PAPER)


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(InputError, match=r"Did you mean .*FMvT-S/2-4f4"):
        named("FMvT-S2-4f4")


def test_a_printed_recipe_says_who_says_so() -> None:
    one = preset("FMvT-S/2-4f4")
    changed = one.recipe.changed(["engine.steps=9", "flow.noise_offset=0.05"])
    lines = {
        line.split(":")[0].strip(): line.split("  # ")[-1]
        for line in annotated(changed, one.recipe, one.sources).splitlines()
    }
    assert lines["steps"] == CHANGED
    assert lines["model"] == "paper, Table 3"
    assert lines["frames"] == "paper: 2 s at 32 frames per second"
    assert lines["noise_offset"] == "lineage, MRFlow"  # set to what it was
    assert lines["compile"] == DEFAULT
    assert lines["momentum"] == "not used by adamw"
    assert lines["drop_mask"] == "not used by lvfm"
    assert "reconstruction" not in lines


def test_a_printed_recipe_reads_back() -> None:
    for name in ("A-VAE-16f8", "EF-pc-psax", "LV-DeepLabV3", "phantom-S-lvfm"):
        assert parse(yaml.safe_load(annotated(named(name)))) == named(name)


def test_synthetic_rows_differ_from_real_ones_as_the_protocol_says() -> None:
    real, ours, pediatric = (named(f"EF-{row}").ef for row in ("real-lvh", "pc-lvh", "pc-a4c"))
    assert (real.period, ours.period, ours.by_anatomy, real.by_anatomy) == (2, 1, True, False)
    assert ours == pediatric
    assert named("EF-pc-a4c").start == "runs/EF-real-dynamic/net"
    assert named("EF-pc-a4c").held_out == "real-a4c"


def test_what_decides_whether_a_value_is_read_is_there() -> None:
    names = {name for one in PRESETS.values() for name in dict(_values(one.recipe))}
    assert {*_READERS, *(switch for switch, _ in _READERS.values())} <= names


def test_steps_follow_from_epochs() -> None:
    engine = named("EF-real-dynamic").engine
    assert (engine.steps, engine.fall_every, engine.validate_every) == (45 * 373, 15 * 373, 373)
    avae = named("A-VAE-4f4")
    assert avae.avae.adversary_from / avae.engine.steps == pytest.approx(0.1, abs=1e-4)


def test_stages_and_networks_with_a_paper_of_their_own_have_their_codes_way_too() -> None:
    published = {name for name in PRESETS if name[1:4] == "SCM" or name.startswith("Free-Echo-")}
    code = {name for name in published if "-code" in name}
    assert len(code) == 7 + 4
    assert {name.replace("-code", "") for name in code} == published - code


def test_the_list_holds_every_name_in_its_group() -> None:
    groups = {part.splitlines()[0]: part.splitlines()[1:] for part in listed().split("\n\n")}
    for name, one in PRESETS.items():
        lines = groups[one.group]
        assert any(
            name in (line.split() if one.group == BEYOND else line.split()[:1]) for line in lines
        )
