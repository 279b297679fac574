"""Published feature networks: what their files are called, where they lie, and how they are opened.

Nothing is fetched. A file is looked for in a folder that is named, in the folder of the variable
ECHO_WEIGHTS, and in the caches where other tools leave it; its hash decides whether it is the one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echoflow.metrics.features import Identity
from echoflow.types import InputError, choose

if TYPE_CHECKING:
    from torch import nn

VARIABLE = "ECHO_WEIGHTS"


@dataclass(frozen=True)
class Published:
    """One file of weights. `sha256` has all 64 digits, or the first that the file's name tells.

    `call` are the arguments that a TorchScript file is called with; `frames` whether it takes
    pictures (c, h, w) rather than clips (c, t, h, w). Without `call` only its tensors are opened.
    """

    file: str
    sha256: str
    licence: str
    source: str
    serves: str
    features: int
    repo: str | None = None
    call: Mapping[str, bool] = field(default_factory=dict)
    frames: bool = True


PUBLISHED: dict[str, Published] = {
    "inception": Published(
        "inception-2015-12-05.pt",
        "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
        "Apache-2.0 weights",
        "the metrics of NVlabs/stylegan2-ada-pytorch",
        "FID and IS as EchoFlow and EchoDiffusion print them",
        2048,
        call={"return_features": True},
    ),
    "inception-fidelity": Published(
        "weights-inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        "Apache-2.0",
        "release v0.2.0 of toshas/torch-fidelity",
        "FID, KID and IS of torch-fidelity and torchmetrics: the same network, its tensors",
        2048,
    ),
    "i3d": Published(
        "i3d_torchscript.pt",
        "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
        "Apache-2.0 weights",
        "the FVD of universome/stylegan-v",
        "FVD16 and FVD128 as EchoFlow and EchoDiffusion print them",
        400,
        repo="flateon/FVD-I3D-torchscript",
        call={"rescale": True, "resize": True, "return_features": True},
        frames=False,
    ),
    "r2plus1d": Published(
        "r2plus1d_18-91a641e6.pth",
        "91a641e6",
        "BSD-3-Clause",
        "torchvision, R2Plus1D_18_Weights.KINETICS400_V1",
        "FVD as Free-Echo prints it, another scale than I3D's",
        512,
        frames=False,
    ),
    "vgg16": Published(
        "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        "BSD-3-Clause",
        "torchvision, VGG16_Weights.IMAGENET1K_V1",
        "the trunk of LPIPS",
        4096,
    ),
    "alexnet": Published(
        "alexnet-owt-7be5be79.pth",
        "7be5be79",
        "BSD-3-Clause",
        "torchvision, AlexNet_Weights.IMAGENET1K_V1",
        "the smaller trunk of LPIPS, on another scale",
        4096,
    ),
    "dinov2": Published(
        "dinov2_vitb14_pretrain.pth",
        "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
        "Apache-2.0",
        "facebookresearch/dinov2, ViT-B/14",
        "Frechet distances nearer to what people see than Inception's",
        768,
    ),
    "echoprime": Published(
        "echo_prime_encoder.pt",
        "7ca32e8bfde248bd6d8c7e46fdb7440385169af4dc2f416b5de840bdc2e64f3b",
        "see its repository",
        "the model data of echonet/EchoPrime",
        "distances on features of echocardiograms",
        512,
        frames=False,
    ),
}


def find(name: str, folder: str | Path | None = None) -> Path:
    """The file of the network called `name`, its hash checked; `InputError` if it is nowhere.

    The first file of that name decides: one with another hash is refused, not passed over.
    """
    row = PUBLISHED[choose(name, PUBLISHED, "feature network")]
    for path in _places(row, folder):
        if path.is_file():
            return _verified(path, row)
    raise InputError(
        f"the network {name} is not on this machine: get {row.file} (sha256 {row.sha256[:16]}"
        f"{'...' if len(row.sha256) > 16 else ''}; {row.licence}) from {row.source}, put it into "
        f"a folder and name that folder in the variable {VARIABLE}."
    )


def _places(row: Published, folder: str | Path | None) -> Iterator[Path]:
    """Where the file may lie, most explicit first."""
    for given in (folder, os.environ.get(VARIABLE)):
        if given:
            yield Path(given).expanduser() / row.file
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    torch_home = Path(os.environ.get("TORCH_HOME", cache / "torch")).expanduser()
    yield torch_home / "hub" / "checkpoints" / row.file
    downloads = cache / "dnnlib" / "downloads"  # of StyleGAN's scripts: a hash before the name
    yield from sorted(downloads.glob(f"*_{row.file}")) if downloads.is_dir() else ()
    if row.repo:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(row.repo, row.file)
        if isinstance(cached, str):
            yield Path(cached)


def _verified(path: Path, row: Published) -> Path:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if not found.startswith(row.sha256):
        raise InputError(
            f"{path} is another file than {row.file} of {row.source}: its sha256 begins with "
            f"{found[:16]}, not {row.sha256[:16]}; replace it."
        )
    return path


def tensors(name: str, folder: str | Path | None = None) -> dict[str, Any]:
    """The tensors of a network that is published as such, by name; never executes a pickle."""
    import torch

    row = PUBLISHED[choose(name, PUBLISHED, "feature network")]
    if row.call:
        raise InputError(f"{name} is TorchScript and brings its own code; open it as a network.")
    return torch.load(find(name, folder), map_location="cpu", weights_only=True)


class Scripted:
    """A published TorchScript network as a `FeatureExtractor`, called as its protocol calls it.

    Resizing and scaling happen inside, from uint8, in three equal channels.
    """

    def __init__(self, name: str, folder: str | Path | None = None, device: str = "cpu") -> None:
        import torch

        row = PUBLISHED[choose(name, PUBLISHED, "feature network")]
        if not row.call:
            scripted = ", ".join(key for key, other in PUBLISHED.items() if other.call)
            raise InputError(f"{name} is no TorchScript network; those are {scripted}.")
        path = find(name, folder)
        self.row, self.device = row, device
        self.net: nn.Module = torch.jit.load(str(path), map_location=device).eval()
        self.identity = Identity(name, row.sha256)

    def __call__(self, videos: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch
        from einops import repeat

        x = torch.from_numpy(np.ascontiguousarray(videos)).to(self.device)
        form = "n t h w -> (n t) c h w" if self.row.frames else "n t h w -> n c t h w"
        with torch.inference_mode():
            found = self.net(repeat(x, form, c=3), **self.row.call).float().cpu().numpy()
        if found.ndim != 2 or found.shape[1] != self.row.features:
            raise InputError(
                f"{self.identity.name} gave features of shape {found.shape}; it should give "
                f"{self.row.features} numbers for each."
            )
        return found
