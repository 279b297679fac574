"""Recipes as values: names, dotted settings, files, and what is refused."""

from pathlib import Path

import pytest
import yaml

from echoflow.training.folder import free
from echoflow.training.recipes import parse, read
from echoflow.training.stages import assemble
from echoflow.training.table import named
from echoflow.types import InputError


def test_yaml_round_trip(tmp_path: Path) -> None:
    recipe = named("nano-lvfm")
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    assert read(path) == recipe


def test_dotted_settings_reach_nested_values() -> None:
    recipe = named("nano-lvfm").changed(["engine.lr=5e-5", "flow.drop=0.2", "data=elsewhere"])
    assert (recipe.engine.lr, recipe.flow.drop, recipe.data) == (5e-5, 0.2, "elsewhere")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("engine.lrr=1", "no setting engine.lrr. Did you mean lr"),
        ("engine.lr=-1", "engine.lr: .*greater than 0"),
        ("engine.steps=many", "engine.steps: .*integer"),
        ("engine", "written name=value"),
        ("engine.lr.x=1", "no setting engine.lr.x"),
    ],
)
def test_wrong_settings_are_named(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        named("nano-lvfm").changed([setting])


def test_each_condition_has_its_chance_of_being_dropped() -> None:
    flow = named("nano-lvfm").changed(["flow.drop=0.3", "flow.drop_frame=0"]).flow
    assert flow.chances == {"ef": 0.3, "frame": 0.0, "view": 0.3, "mask": 0.3}


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recipe file"):
        read(tmp_path / "none.yaml")
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    with pytest.raises(InputError, match="must hold settings"):
        read(path)
    path.write_text("a: [1\n")
    with pytest.raises(InputError, match="is not YAML"):
        read(path)


def test_unknown_field_in_a_file() -> None:
    values = yaml.safe_load(named("nano-ef").to_yaml())
    with pytest.raises(InputError, match="colour: Extra inputs are not permitted"):
        parse({**values, "colour": "red"})
    with pytest.raises(InputError, match=r"stpes: .* \(got 9\)\. Did you mean steps"):
        parse({**values, "engine": {"stpes": 9}})
    with pytest.raises(InputError, match=r"held: .* Did you mean held_out\?"):
        parse({**values, "held": "x"})


def test_partners_are_looked_for_in_the_whole_batch() -> None:
    with pytest.raises(InputError, match=r"would cut up; leave engine.micro out"):
        assemble(named("nano-reid").changed(["engine.micro=8"]))


def test_what_may_change_on_resume_depends_on_the_stage() -> None:
    assert "engine.micro" in free(named("nano-lvfm"))
    assert "engine.micro" not in free(named("nano-avae"))
    best = named("nano-ef").changed(["engine.keep=best"])
    assert "engine.validate_every" in free(named("nano-ef")) - free(best)


def test_a_stage_refuses_the_model_of_another() -> None:
    with pytest.raises(InputError, match="stage lvfm cannot train FMiT-nano, a FMiT"):
        assemble(named("nano-lvfm").changed(["model=FMiT-nano"]))
