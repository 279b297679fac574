"""The model card of exported weights: what they are, from which data, and what is promised."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from echoflow.interop.bundle import Parts, filters_of

LICENCE = "apache-2.0"
UNKNOWN = "Not recorded in these weights. State it here before you publish them."
CITATION = """```bibtex
@article{reynaud2025echoflow,
  title   = {EchoFlow: A Foundation Model for Cardiac Ultrasound Image and Video Generation},
  author  = {Reynaud, Hadrien and Gomez, Alberto and Leeson, Paul and Meng, Qingjie and
             Kainz, Bernhard},
  journal = {arXiv preprint arXiv:2503.22357},
  year    = {2025}
}
```"""


@dataclass(frozen=True)
class About:
    """What a card says; the sections are markdown."""

    title: str
    what: str
    data: str
    privacy: str
    recipe: str
    use: str

    @classmethod
    def of_network(
        cls, net: nn.Module, name: str, data: str | None, provenance: Mapping[str, Any] | None
    ) -> About:
        """The card of a single network."""
        return cls(
            title=name,
            what=f"{_size(net)}. Class `{type(net).__name__}`. Not for diagnosis.",
            data=_data(data, provenance),
            privacy="One network alone promises no privacy: it may reproduce what it was trained "
            "on. Only data that went through a privacy filter are claimed to be private.",
            recipe="See `recipe.yaml` if there is one beside this file.",
            use="```python\nfrom echoflow.interop.echoflow import load\n\n"
            'net = load("FOLDER")\n```',
        )

    @classmethod
    def of_bundle(
        cls,
        card: Mapping[str, Any],
        parts: Parts,
        names: Sequence[str],
        provenance: Mapping[str, Any] | None,
    ) -> About:
        """The card of a whole release; `names` are its models as `role/name`."""
        return cls(
            title=str(card.get("name", "EchoFlow weights")),
            what=_contents(card, parts, names),
            data=_data(card.get("data"), provenance, card.get("population")),
            privacy=_privacy(parts),
            recipe=f"{_plans(card)} Each model has its `recipe.yaml` beside it, where it is known.",
            use="```\nechoflow animate IMAGE --ef 40 --weights FOLDER\n"
            "echoflow synthesise --out DATASET --weights FOLDER\n```",
        )


def readme(about: About) -> str:
    """README.md with the front matter that the hub reads."""
    sections = {
        "Data": about.data,
        "Privacy": about.privacy,
        "Recipe": about.recipe,
        "Use": about.use,
        "Licence": "Apache-2.0. The licence of the training data may ask for more.",
        "Citation": CITATION,
    }
    head = (
        f"---\nlicense: {LICENCE}\ntags: [echocardiography, flow-matching, synthetic-data]\n---\n"
    )
    body = "".join(f"\n## {title}\n\n{text}\n" for title, text in sections.items())
    return f"{head}\n# {about.title}\n\n{about.what}\n{body}"


def _contents(card: Mapping[str, Any], parts: Parts, names: Sequence[str]) -> str:
    sizes = {name: _size(net) for name, net in zip(names, parts.nets.values(), strict=False)}
    rows = "\n".join(f"| `{name}` | {sizes.get(name, 're-identification')} |" for name in names)
    return (
        f"Synthetic cardiac ultrasound: clips of {card['frames']} frames at {card['fps']:g} Hz, "
        f"{card['size']}x{card['size']} latent cells. Not for diagnosis.\n\n"
        f"| model | what |\n| --- | --- |\n{rows}"
    )


def _size(net: nn.Module) -> str:
    count = sum(p.numel() for p in net.parameters())
    return f"{count / 1e6:.2f} M parameters" if count >= 1e4 else f"{count} parameters"


def _data(data: str | None, provenance: Mapping[str, Any] | None, population: object = None) -> str:
    lines = [data[:1].upper() + data[1:].rstrip(".") + "." if data else UNKNOWN]
    if population is not None:
        lines.append(f"Population: `{json.dumps(population)}`.")
    if provenance is not None:
        revision = provenance.get("revision")
        at = f", revision {revision}" if revision else ""
        lines.append(f"Converted from {provenance['source']}{at}; its licence and terms apply.")
    return "\n\n".join(lines)


def _privacy(parts: Parts) -> str:
    rows = []
    for view, one in filters_of(parts.privacy).items():
        taus = ", ".join(f"{group or 'all'} {tau:.4f}" for group, tau in one.thresholds().items())
        rows.append(f"| {view.name} | {len(one.gallery)} | {taus} |")
    table = "\n".join(["| view | training anatomies | tau |", "| --- | --- | --- |", *rows])
    return (
        "Every generated anatomy is compared with all training anatomies; one whose correlation "
        f"reaches tau is thrown away.\n\n{table}\n\nOnly filtered data are claimed to be private, "
        "not the models. The galleries hold features, no names and no pictures."
    )


def _plans(card: Mapping[str, Any]) -> str:
    def told(plan: Mapping[str, Any]) -> str:
        return f"{plan['steps']} {plan['solver']} steps, guidance {plan['scale']:g}"

    calibrated = (
        " With this guidance the EF that the network is told is calibrated, so that the one asked "
        "for comes out by the regressor of this release."
        if card.get("calibration")
        else ""
    )
    return (
        f"Rectified flow. Sampling: anatomies {told(card['anatomy'])}; motion "
        f"{told(card['motion'])}.{calibrated}"
    )
