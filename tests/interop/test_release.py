"""One published model, a whole release, and every way in which either can be wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from golden_cases import manifest
from PIL import Image
from published import S, segdit_config, segdit_shapes, stdit_config, stdit_shapes, write_release
from safetensors.torch import load_file, save_file

from echoflow.interop import echoflow, exchange, release
from echoflow.networks import zoo
from echoflow.pipeline import Pipeline, load, unmeasured, weights_folder
from echoflow.privacy import PrivacyByView
from echoflow.sampling import SamplingPlan
from echoflow.synthesis import DatasetPlan, synthesise
from echoflow.types import InputError, View

MODELS = ("vae/avae-4f4", "lifm/FMiT-S14-4f4", "lvfm/FMvT-S14-4f4", "reid/lvh-4f4")
SHORT = SamplingPlan(steps=2, solver="euler", scale=2.0)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("published"))


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    return shutil.copytree(published, tmp_path / "copy")


@pytest.fixture(scope="module")
def pipeline(published: Path) -> Pipeline:
    return load(published)


def weights_of(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


# ---- one model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_saving_what_was_loaded_gives_the_same_tensors(
    name: str, published: Path, tmp_path: Path
) -> None:
    net = echoflow.load(published, name)
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
    echoflow.save(net, tmp_path / "again")
    theirs = load_file(weights_of(published / name))
    ours = load_file(weights_of(tmp_path / "again"))
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[key], ours[key]) for key in theirs)
    again = echoflow.load(tmp_path / "again")
    assert again.config == net.config


@pytest.mark.parametrize("name", MODELS)
def test_import_and_export_are_inverse(name: str, published: Path, tmp_path: Path) -> None:
    exchange.import_weights(published, tmp_path / "ours", name)
    assert zoo.load(tmp_path / "ours").config == echoflow.load(published, name).config
    exchange.export_weights(tmp_path / "ours", tmp_path / "theirs")
    before = load_file(weights_of(published / name))
    after = load_file(weights_of(tmp_path / "theirs"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    record = json.loads((tmp_path / "ours" / exchange.PROVENANCE).read_text())
    assert set(record["files"]) == {path.name for path in (published / name).iterdir()}


@pytest.mark.parametrize(
    ("file", "variant", "shapes"),
    [
        ("image_transformer", "FMiT-S/4-4f4", segdit_shapes(segdit_config(S))),
        ("video_transformer", "FMvT-S/4-4f4", stdit_shapes(stdit_config(S))),
    ],
)
def test_the_stand_in_has_the_published_names_and_shapes(
    file: str, variant: str, shapes: dict[str, tuple[int, ...]]
) -> None:
    wanted = manifest(file)[variant]["state_dict"]
    assert {key: list(shape) for key, shape in shapes.items()} == wanted


def edit_json(folder: Path, **changes: object) -> None:
    """Fields of config.json; None takes one out."""
    path = folder / "config.json"
    fields = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in fields.items() if v is not None}))


def edit_weights(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(weights_of(folder))
    edit(tensors)
    save_file(tensors, str(weights_of(folder)))


def rename_one(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.blocks.0.attention.qkv.weight"] = tensors.pop("model.blocks.0.attn.qkv.weight")


def halve_one(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.t_block.1.bias"] = tensors["model.t_block.1.bias"].half()


def break_one(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.t_block.1.bias"][3] = torch.nan


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (rename_one, r"lacks model\.blocks\.0\.attn\..* unknown model\.blocks\.0\.attention\."),
        (halve_one, r"mixes .*float16 \(model\.t_block\.1\.bias\)"),
        (break_one, r"model\.t_block\.1\.bias holds values that are not finite"),
        (lambda t: t.pop("model.t_block.1.bias"), r"lacks model\.t_block\.1\.bias;"),
        (
            lambda t: t.update({"model.t_block.1.bias": torch.zeros(3)}),
            r"1\.bias has shape \(3,\).*\(192,\)",
        ),
    ],
)
def test_weights_that_are_wrong(
    edit: Callable[[dict[str, torch.Tensor]], object], says: str, copy: Path
) -> None:
    folder = copy / MODELS[2]
    edit_weights(folder, edit)
    with pytest.raises(InputError, match=says) as refusal:
        echoflow.load(folder)
    assert str(folder) in str(refusal.value)


def test_truncated_or_missing_weights(copy: Path) -> None:
    path = weights_of(copy / MODELS[2])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        echoflow.load(copy / MODELS[2])
    path.rename(path.with_name("model.safetensors"))
    with pytest.raises(InputError, match="no weights at"):
        echoflow.load(copy / MODELS[2])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hiden_size": 3}, "Did you mean hidden_size"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": "wide"}, "hidden_size"),
        ({"_class_name": "DiffuserSTDT"}, "Did you mean DiffuserSTDiT"),
        ({"_class_name": None}, "names no _class_name"),
        ({"in_channels": 9}, "9"),
    ],
)
def test_configs_that_are_wrong(changes: dict[str, object], says: str, copy: Path) -> None:
    edit_json(copy / MODELS[2], **changes)
    with pytest.raises(InputError, match=says):
        echoflow.load(copy / MODELS[2])


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"backbone": {"target": "x.ResNet18"}}, "model.args"),
        ({"backbone": {"target": "x.ViT"}, "model": {"args": {}}}, r"must end in ResNet18; got x"),
        ({"backbone": {"target": "ResNet18"}, "model": {"args": {"out_channels": 16}}}, "in_chann"),
        ("[", "must hold backbone.target"),
    ],
)
def test_reid_configs_that_are_wrong(tree: object, says: str, copy: Path) -> None:
    text = tree if isinstance(tree, str) else yaml.safe_dump(tree)
    (copy / MODELS[3] / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=says):
        echoflow.load(copy / MODELS[3])


# ---- tables -------------------------------------------------------------------------------------


class Malicious:
    """A pickle that would run a program when it is opened."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch opened",)


@pytest.mark.parametrize("name", ["scaling.pt", "anatomies_lvh.pt"])
def test_a_malicious_pickle_is_refused_and_not_run(
    name: str, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"mean": Malicious(), "std": torch.ones(4)}, copy / name)
    with pytest.raises(InputError, match="wants more than tensors"):
        load(copy)
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (torch.ones(4), "a dict with mean and std; it holds Tensor"),
        ({"mean": torch.ones(4)}, "it holds mean"),
        ({"mean": torch.ones(4), "std": torch.zeros(4)}, "positive std"),
        ({"mean": torch.ones(3), "std": torch.ones(3)}, "3 latent channels, the autoencoder has 4"),
    ],
)
def test_scaling_tables_that_are_wrong(value: object, says: str, copy: Path) -> None:
    torch.save(value, copy / "scaling.pt")
    with pytest.raises(InputError, match=says):
        load(copy)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (torch.rand(16), r"one tensor \(n, features\)"),
        (torch.rand(3, 15), "rows of 15 features, the re-identification network gives 16"),
        (torch.full((3, 16), torch.nan), "not finite"),
    ],
)
def test_galleries_that_are_wrong(value: torch.Tensor, says: str, copy: Path) -> None:
    torch.save(value, copy / "anatomies_lvh.pt")
    with pytest.raises(InputError, match=says):
        load(copy)


def test_a_damaged_table(copy: Path) -> None:
    path = copy / "anatomies_lvh.pt"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="is damaged"):
        load(copy)


# ---- a release ----------------------------------------------------------------------------------


def test_the_pipeline_of_a_release(pipeline: Pipeline) -> None:
    assert (pipeline.fps, pipeline.frames, pipeline.video.shape) == (32.0, 4, (4, 4, 28, 28))
    assert (pipeline.motion.solver, pipeline.motion.scale) == ("euler", 2.0)
    assert pipeline.motion.negative is None
    torch.testing.assert_close(pipeline.space.stats.std, torch.tensor([6.0, 13.0, 10.0, 7.0]))
    z = pipeline.anatomies([View.A4C, View.PLAX], None, [0, 1], SHORT)
    verdicts = pipeline.privacy.verdicts(z, [View.A4C, View.PLAX])
    assert {v.nearest.split(":")[0] for v in verdicts} <= {"dynamic", "ped_a4c", "lvh"}
    clips = pipeline.decode(pipeline.animate(z, torch.tensor([35.0, 60.0]), [0, 1], SHORT))
    assert clips.shape == (2, 4, 112, 112)
    assert bool(pipeline.regressor(clips).isnan().all())


def test_every_view_has_the_network_gallery_and_tau_of_its_dataset(pipeline: Pipeline) -> None:
    assert isinstance(pipeline.privacy, PrivacyByView)
    assert pipeline.privacy.thresholds() == {
        "dynamic": 0.9997,
        "ped_a4c": 0.9851,
        "ped_psax": 0.9953,
        "lvh": 0.9950,
    }
    filters = pipeline.privacy.filters
    assert filters[View.A4C].gallery.groups == ("dynamic",) * 5 + ("ped_a4c",) * 5
    assert filters[View.PSAX].gallery.groups == ("ped_psax",) * 5
    assert filters[View.PSAX].embed is not filters[View.PLAX].embed


def test_a_copy_of_a_training_anatomy_is_rejected(copy: Path) -> None:
    z = torch.randn(3, 4, 28, 28, generator=torch.Generator().manual_seed(2))
    net = echoflow.load(copy / "reid/lvh-4f4")
    for features in (net(z), net.logits(z)):  # type: ignore[operator]
        torch.save(features, copy / "anatomies_lvh.pt")
        verdict = load(copy).privacy.verdicts(z[:1], [View.PLAX])[0]
        assert (verdict.accepted, verdict.nearest) == (False, "lvh:0")
        assert verdict.similarity == pytest.approx(1, abs=1e-6)


def test_a_release_without_judges_animates_but_does_not_vouch(copy: Path) -> None:
    shutil.rmtree(copy / "reid")
    pipeline = load(copy)
    assert pipeline.regressor is unmeasured
    with pytest.raises(InputError, match="cannot check the privacy of PLAX"):
        pipeline.privacy.verdicts(torch.zeros(1, 4, 28, 28), [View.PLAX])
    shutil.rmtree(copy / "lifm")
    with pytest.raises(InputError, match=r"no image model \(lifm\)"):
        load(copy).anatomies([View.A4C], None, [0])


def test_an_imported_release_without_judges_is_a_bundle(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "reid")
    exchange.import_weights(copy, tmp_path / "bundle")
    with pytest.raises(InputError, match="cannot check the privacy of PLAX"):
        load(tmp_path / "bundle").privacy.verdicts(torch.zeros(1, 4, 28, 28), [View.PLAX])
    exchange.export_weights(tmp_path / "bundle", tmp_path / "release")


def test_views_that_were_learned_without_masks_get_none(copy: Path, tmp_path: Path) -> None:
    """EchoFlow's PLAX: an empty mask, also after import and export."""
    exchange.import_weights(copy, tmp_path / "bundle")
    exchange.export_weights(tmp_path / "bundle", tmp_path / "release")
    pipeline = load(copy)
    for weights in (copy, tmp_path / "bundle", tmp_path / "release"):
        assert load(weights).untraced == (View.PLAX,)
    plan = DatasetPlan(2, (View.A4C, View.PLAX), anatomy=SamplingPlan(1), motion=SamplingPlan(1))
    lax = PrivacyByView({view: f.with_tau(1.0) for view, f in pipeline.privacy.filters.items()})  # type: ignore[attr-defined]
    made = synthesise(replace(pipeline, privacy=lax), plan, tmp_path / "set")
    masks = [Image.open(tmp_path / "set" / "Masks" / f"{r.uid}.png") for r in made.records]
    assert [np.asarray(mask).any() for mask in masks] == [True, False]
    assert made.extras[made.records[1].uid]["Traced"] == "stand-in"
    exchange.export_weights(weights_folder("nano"), tmp_path / "nano")
    assert load(tmp_path / "nano").untraced == ()


def test_settings_that_are_wrong(copy: Path, tmp_path: Path) -> None:
    (copy / release.CARD).write_text(json.dumps({"fps": "x"}))
    with pytest.raises(InputError, match=r"release\.json is damaged"):
        exchange.import_weights(copy, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("role", "says"), [("vae", "has no autoencoder"), ("lvfm", "has no video model")]
)
def test_a_release_that_lacks_a_model(role: str, says: str, copy: Path) -> None:
    shutil.rmtree(copy / role)
    with pytest.raises(InputError, match=says):
        load(copy)


def test_several_models_of_a_role_are_listed(copy: Path) -> None:
    shutil.copytree(copy / "lvfm/FMvT-S14-4f4", copy / "lvfm/FMvT-B14-4f4")
    with pytest.raises(InputError, match="choose one of lvfm/FMvT-B14-4f4, lvfm/FMvT-S14-4f4"):
        load(copy)
    assert load(copy, models=["lvfm/FMvT-S14-4f4"]).frames == 4
    with pytest.raises(InputError, match="Did you mean lvfm/FMvT-S14-4f4"):
        load(copy, models=["lvfm/FMvT-S1-4f4"])


def test_a_choice_brings_the_models_of_its_latent_space(copy: Path) -> None:
    shutil.copytree(copy / "vae/avae-4f4", copy / "vae/avae-16f8")
    with pytest.raises(InputError, match="several models under vae"):
        load(copy)
    assert load(copy, models=["lvfm/FMvT-S14-4f4"]).space.channels == 4


def test_models_of_different_latent_spaces_do_not_fit(copy: Path) -> None:
    edit_json(copy / "lvfm/FMvT-S14-4f4", input_size=[4, 14, 14])
    edit_weights(
        copy / "lvfm/FMvT-S14-4f4",
        lambda t: t.update({"model.pos_embed": t["model.pos_embed"][:, :1].contiguous()}),
    )
    with pytest.raises(InputError, match=r"different latent spaces: .*28x28.*14x14"):
        load(copy)


def test_scaling_that_is_missing_or_in_assets(copy: Path) -> None:
    (copy / "assets").mkdir()
    (copy / "scaling.pt").rename(copy / "assets" / "scaling.pt")
    assert load(copy).frames == 4
    (copy / "assets" / "scaling.pt").unlink()
    with pytest.raises(InputError, match=r"scaling\.pt is missing"):
        load(copy)


# ---- there and back -----------------------------------------------------------------------------


def test_an_imported_release_gives_the_same_bits(
    pipeline: Pipeline, published: Path, tmp_path: Path
) -> None:
    exchange.import_weights(published, tmp_path / "bundle")
    exchange.export_weights(tmp_path / "bundle", tmp_path / "release")
    assert release.is_release(tmp_path / "release")
    z = torch.randn(1, 4, 28, 28, generator=torch.Generator().manual_seed(3))
    wanted = pipeline.animate(z, torch.tensor([40.0]), [7], SHORT)
    for place in ("bundle", "release"):
        again = load(tmp_path / place)
        assert torch.equal(again.animate(z, torch.tensor([40.0]), [7], SHORT), wanted)
        for view in View:
            before, after = (p.privacy.verdicts(z, [view])[0] for p in (pipeline, again))
            assert before == after
        assert (again.fps, again.motion) == (pipeline.fps, pipeline.motion)
    files = json.loads((tmp_path / "bundle" / exchange.PROVENANCE).read_text())["files"]
    assert {"scaling.pt", "anatomies_lvh.pt", "vae/avae-4f4/config.json"} <= set(files)


@pytest.mark.slow
def test_nano_as_a_release_gives_the_same_bits(tmp_path: Path) -> None:
    nano = load()
    exchange.export_weights(Path(zoo.__file__).parents[1] / "weights" / "nano", tmp_path / "out")
    again = load(tmp_path / "out")
    z = nano.anatomies([View.PSAX], None, [1], SHORT)
    assert torch.equal(again.anatomies([View.PSAX], None, [1], SHORT), z)
    ef = torch.tensor([30.0])
    assert torch.equal(again.animate(z, ef, [1], SHORT), nano.animate(z, ef, [1], SHORT))
    before = nano.privacy.verdicts(z)[0]
    after = again.privacy.verdicts(z, [View.PSAX])[0]
    assert (before.similarity, before.tau) == (after.similarity, after.tau)
    assert "Phantom hearts only" in (tmp_path / "out" / "README.md").read_text()
    exchange.import_weights(tmp_path / "out", tmp_path / "bundle")
    exchange.export_weights(tmp_path / "bundle", tmp_path / "again")
    assert "Phantom hearts only" in (tmp_path / "again" / "README.md").read_text()


def test_a_hub_id_in_the_cache_with_the_assets_of_its_space(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    for kind in ("models", "spaces"):
        place = tmp_path / "cache" / f"{kind}--owner--flow"
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text(commit)
        (place / "snapshots" / commit / "store").mkdir(parents=True)
    spaces = tmp_path / "cache" / "spaces--owner--flow" / "snapshots" / commit / "store"
    for table in copy.glob("*.pt"):
        table.rename(spaces / table.name)
    shutil.move(copy, tmp_path / "cache" / "models--owner--flow" / "snapshots" / commit / "own")
    models = tmp_path / "cache" / "models--owner--flow" / "snapshots" / commit
    for role in (models / "own").iterdir():
        role.rename(models / role.name)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    pipeline = load("owner/flow")
    assert set(pipeline.privacy.thresholds()) == {"dynamic", "ped_a4c", "ped_psax", "lvh"}
    exchange.import_weights("owner/flow", tmp_path / "bundle")
    assert json.loads((tmp_path / "bundle/provenance.json").read_text())["revision"] == commit
