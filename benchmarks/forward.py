"""Seconds and peak memory of one forward pass: our networks against a plain reading of them.

Usage: python benchmarks/forward.py [--rounds 5] [--threads N] [--device cuda] [--small].

The plain reading, below, has the same weights: explicit softmax, permutes, separate queries, keys
and values, attention to the one EF token in full, and everything computed again at every call.
"Ours" is what the inference settings give: exact (fp32), bf16 and compiled; compiling takes no part
in the seconds, but in the peak memory. All variants of a network run in turn within each round, so
what disturbs one disturbs all. The error is that of the output against the plain float32 one, root
mean square over its spread.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from where import where

from echoflow.condition import Condition
from echoflow.files import atomic_file
from echoflow.networks.avae import AVAEConfig, build_avae
from echoflow.networks.dit_v1 import FMiTv1, FMiTv1Config, FMvTv1, FMvTv1Config
from echoflow.networks.inference import for_inference
from echoflow.networks.prepared import Stepwise
from echoflow.process import Field
from echoflow.sampling import integrate
from echoflow.types import INFERENCE

HALF = torch.bfloat16
VIDEO, IMAGE, AVAE = FMvTv1Config(), FMiTv1Config(), AVAEConfig(4, (128, 256, 512))
SMALL = (
    replace(VIDEO, frames=4, size=(8, 8), width=48, depth=2, heads=3),
    replace(IMAGE, size=8, width=48, depth=2, heads=3),
    AVAEConfig(4, (8, 16), 1, 4),
)


# ---- the plain reading --------------------------------------------------------------------------


def plain_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, scrambled: bool = False) -> Tensor:
    """(b, n, d) each -> (b, n, d)."""
    b, n, d = q.shape
    q, k, v = (y.reshape(b, -1, heads, d // heads).permute(0, 2, 1, 3) for y in (q, k, v))
    weights = ((q @ k.transpose(-2, -1)) * (d // heads) ** -0.5).softmax(dim=-1)
    y = weights @ v
    return y.reshape(b, n, d) if scrambled else y.permute(0, 2, 1, 3).reshape(b, n, d)


def plain_norm(x: Tensor, shift: Tensor, scale: Tensor, eps: float = 1e-6) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=eps) * (1 + scale) + shift


def plain_video(net: FMvTv1, x: Tensor, t: Tensor, video: Tensor, token: Tensor) -> Tensor:
    """The released video network, line by line (DiffuserSTDiT)."""
    k, (steps, rows, columns) = net.config, net.grid
    b, s, d = len(x), rows * columns, k.width
    tokens = F.conv3d(torch.cat([x, video], 1), net.embed.weight, net.embed.bias, stride=k.patch)
    y = tokens.flatten(2).transpose(1, 2).reshape(b, steps, s, d) + net.place
    y = y.reshape(b, steps * s, d)
    c = net.time(t)
    ada, keys = net.ada(F.silu(c)).reshape(b, 6, d), net.token(token)
    for i, block in enumerate(net.blocks):
        parts = (block.table + ada).chunk(6, dim=1)
        z = plain_norm(y, parts[0], parts[1]).reshape(b * steps, s, d)
        q, key, v = block.attn.qkv(z).chunk(3, dim=-1)
        z = block.attn.proj(plain_attention(q, key, v, k.heads, k.scrambled_heads))
        y = y + parts[2] * z.reshape(b, steps * s, d)
        z = y.reshape(b, steps, s, d).permute(0, 2, 1, 3).reshape(b * s, steps, d)
        z = z + net.place_time if i == 0 else z
        q, key, v = block.attn_temp.qkv(z).chunk(3, dim=-1)
        z = block.attn_temp.proj(plain_attention(q, key, v, k.heads, k.scrambled_heads))
        z = z.reshape(b, s, steps, d).permute(0, 2, 1, 3).reshape(b, steps * s, d)
        y = y + parts[2] * z
        key, v = block.cross.kv(keys).chunk(2, dim=-1)
        y = y + block.cross.proj(plain_attention(block.cross.q(y), key, v, k.heads))
        y = y + parts[5] * block.mlp(plain_norm(y, parts[3], parts[4]))
    shift, scale = (net.table + c[:, None]).chunk(2, dim=1)
    y = net.head(plain_norm(y, shift, scale))
    y = y.reshape(b, steps, rows, columns, *k.patch, k.channels)
    return y.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(x.shape)


def plain_image(net: FMiTv1, x: Tensor, t: Tensor, mask: Tensor, view: Tensor) -> Tensor:
    """The released image network, line by line (SegDiTTransformer2DModel)."""
    k = net.config
    b, d, side = len(x), k.width, k.size // k.patch
    tokens = F.conv2d(torch.cat([x, mask], 1), net.embed.weight, net.embed.bias, stride=k.patch)
    y = tokens.flatten(2).transpose(1, 2) + net.place
    for block in net.blocks:
        parts = block.ada(block.embedding(t, view)).reshape(b, 6, d).chunk(6, dim=1)
        z = plain_norm(y, parts[0], parts[1])
        weights, biases = block.attn.qkv.weight.chunk(3), block.attn.qkv.bias.chunk(3)
        q, key, v = (F.linear(z, w, bias) for w, bias in zip(weights, biases, strict=True))
        y = y + parts[2] * block.attn.proj(plain_attention(q, key, v, k.heads))
        y = y + parts[5] * block.mlp(plain_norm(y, parts[3], parts[4], k.norm_eps))
    shift, scale = net.ada(net.blocks[0].embedding(t, view)).reshape(b, 2, d).chunk(2, dim=1)
    y = net.head(plain_norm(y, shift, scale)).reshape(b, side, side, k.patch, k.patch, k.channels)
    return y.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)


# ---- variants -----------------------------------------------------------------------------------

Variants = dict[str, Callable[[], Tensor]]


def random_weights(net: nn.Module, device: str) -> nn.Module:
    """Every tensor drawn so that signals keep their size through the network."""
    torch.manual_seed(0)
    for p in net.parameters():
        nn.init.normal_(p, std=0.02 if p.ndim < 2 else p[0].numel() ** -0.5)
    return net.eval().requires_grad_(False).to(device)


def fields(net: Stepwise, cond: Condition, times: Tensor | None = None) -> list[Field]:
    """The network as a sampler calls it, for each of the inference settings."""
    times = torch.tensor([0.6]) if times is None else times
    twins = (for_inference(copy.deepcopy(net), setting) for setting in INFERENCE)
    return [cast(Stepwise, twin).prepare(cond, times) for twin in twins]


def video_variants(config: FMvTv1Config, device: str) -> Variants:
    """One clip, one anatomy, one EF."""
    net = random_weights(FMvTv1(config), device)
    assert isinstance(net, FMvTv1)
    half = copy.deepcopy(net).to(HALF)
    frame = torch.randn(1, config.channels, *config.size, device=device)
    x = torch.randn(1, config.channels, config.frames, *config.size, device=device)
    t, ef = torch.full((1,), 0.6, device=device), torch.full((1,), 55.0, device=device)
    cond, video, token = Condition(ef=ef, frame=frame), frame[:, :, None], ef.reshape(1, 1, 1) / 100
    still = video.expand_as(x)
    exact, fast, compiled = fields(net, cond)
    return {
        "plain fp32": lambda: plain_video(net, x, t, still, token),
        "plain bf16": lambda: plain_video(half, x.to(HALF), t, still.to(HALF), token.to(HALF)),
        "ours fp32, one call": lambda: net(x, t, cond),
        "ours fp32": lambda: exact(x, t),
        "ours bf16": lambda: fast(x, t),
        "ours compiled": lambda: compiled(x, t),
    }


def image_variants(config: FMiTv1Config, device: str) -> Variants:
    """One anatomy, with a mask and a view."""
    net = random_weights(FMiTv1(config), device)
    assert isinstance(net, FMiTv1)
    half = copy.deepcopy(net).to(HALF)
    x = torch.randn(1, config.channels, config.size, config.size, device=device)
    mask = (torch.rand(1, 1, config.size, config.size, device=device) > 0.5).float()
    t, view = torch.full((1,), 0.6, device=device), torch.ones(1, dtype=torch.long, device=device)
    cond = Condition(view=view, mask=mask)
    exact, fast, compiled = fields(net, cond)
    return {
        "plain fp32": lambda: plain_image(net, x, t, mask, view),
        "plain bf16": lambda: plain_image(half, x.to(HALF), t, mask.to(HALF), view),
        "ours fp32, one call": lambda: net(x, t, cond),
        "ours fp32": lambda: exact(x, t),
        "ours bf16": lambda: fast(x, t),
        "ours compiled": lambda: compiled(x, t),
    }


def decode_variants(config: AVAEConfig, frames: int, side: int, device: str) -> Variants:
    """All frames of a clip to pixels: at once, or a few at a time."""
    net = random_weights(build_avae(config), device)
    half = copy.deepcopy(net).to(HALF)
    last, half_last = (copy.deepcopy(y).to(memory_format=torch.channels_last) for y in (net, half))  # type: ignore[call-overload]
    z = torch.randn(frames, config.channels, side, side, device=device)

    def decode(avae: nn.Module, chunk: int, dtype: torch.dtype = torch.float32) -> Tensor:
        parts = [avae.decode(part.to(dtype)).sample for part in z.split(chunk)]  # type: ignore
        return torch.cat(parts)

    return {
        "plain fp32": lambda: decode(net, frames),
        "plain bf16": lambda: decode(half, frames, HALF),
        "ours fp32": lambda: decode(net, 4),
        "ours fp32, channels last": lambda: decode(last, 4),
        "ours bf16": lambda: decode(half, 4, HALF),
        "ours bf16, channels last": lambda: decode(half_last, 4, HALF),
    }


def sample_variants(config: FMvTv1Config, avae: AVAEConfig, device: str) -> Variants:
    """A clip with guidance in two Euler steps, decoded: what a sample needs in memory."""
    net, coder = random_weights(FMvTv1(config), device), random_weights(build_avae(avae), device)
    assert isinstance(net, FMvTv1)
    half = copy.deepcopy(coder).to(HALF, memory_format=torch.channels_last)  # type: ignore
    shape, grid = (config.channels, config.frames, *config.size), torch.linspace(1, 0, 3)
    noise, frame = torch.randn(1, *shape, device=device), torch.randn(1, *shape, device=device)
    cond = Condition(ef=torch.full((1,), 55.0, device=device), frame=frame[:, :, 0])
    both = Condition.cat([cond.without("ef", "frame"), cond])

    def plain(x: Tensor, t: Tensor) -> Tensor:
        video, token = frame[:, :, :1].expand_as(x), torch.full((1, 1, 1), 0.55, device=device)
        negative = plain_video(net, x, t, 0 * video, 0 * token - 1)
        return 2 * plain_video(net, x, t, video, token) - negative

    def guided(field: Field) -> Field:
        def velocity(x: Tensor, t: Tensor) -> Tensor:
            negative, v = field(torch.cat([x, x]), torch.cat([t, t])).chunk(2)
            return 2 * v - negative

        return velocity

    def sample(field: Field, decoder: nn.Module, chunk: int, dtype: torch.dtype) -> Tensor:
        z = integrate(field, noise, grid)[0].transpose(0, 1).to(dtype)
        return torch.cat([decoder.decode(part).sample for part in z.split(chunk)])  # type: ignore

    exact, fast, _ = fields(net, both, grid)
    return {
        "plain fp32": lambda: sample(plain, coder, config.frames, torch.float32),
        "ours fp32": lambda: sample(guided(exact), coder, 4, torch.float32),
        "ours bf16": lambda: sample(guided(fast), half, 4, HALF),
    }


# ---- measuring ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One variant of one network."""

    network: str
    variant: str
    seconds: float
    speedup: float
    error: float
    peak_mb: float | None


@torch.no_grad()
def measure(network: str, variants: Variants, rounds: int, device: str) -> Iterator[Row]:
    """Median seconds of each; the first, discarded, pass gives the output and the peak memory."""
    outputs, peaks = {}, {}
    for name, run in variants.items():
        with peak(device) as megabytes:
            outputs[name] = run().float()
        peaks[name] = megabytes()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            if device != "cpu":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    plain, speed = outputs["plain fp32"], median["plain fp32"]
    for name, value in median.items():
        error = float((outputs[name] - plain).square().mean().sqrt() / plain.std())
        yield Row(network, name, round(value, 4), round(speed / value, 2), error, peaks[name])


@contextmanager
def peak(device: str) -> Iterator[Callable[[], float | None]]:
    """Most memory in MB that the block held above what was held before it.

    On a CPU Linux tells, once its high-water mark is reset; elsewhere the answer is None.
    """
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield lambda: round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)
        return
    before = resident("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        before = None
    yield lambda: None if before is None else round((resident("VmHWM") or before) - before, 1)


def resident(field: str) -> float | None:
    """A figure of /proc/self/status in MB."""
    status = Path("/proc/self/status")
    found = re.search(rf"{field}:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--small", action="store_true", help="tiny networks: does it run at all?")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/forward.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    video, image, avae = SMALL if args.small else (VIDEO, IMAGE, AVAE)
    makers = {
        "FMvT-S/2-4f4": lambda: video_variants(video, args.device),
        "FMiT-S/2-4f4": lambda: image_variants(image, args.device),
        "A-VAE-4f4 decode": lambda: decode_variants(avae, video.frames, image.size, args.device),
        "sample, 2 steps": lambda: sample_variants(video, avae, args.device),
    }
    card = {**where(), "device": args.device, "threads": args.threads, "rounds": args.rounds}
    rows: list[Row] = []
    for network, made in makers.items():
        for row in measure(network, made(), args.rounds, args.device):
            rows.append(row)
            print(
                f"{row.network:17s} {row.variant:25s} {row.seconds:9.4f} s {row.speedup:6.2f}x "
                f"error {row.error:.1e}  peak {row.peak_mb} MB",
                flush=True,
            )
        told = json.dumps({**card, "rows": [vars(row) for row in rows]}, indent=2)
        with atomic_file(args.out) as work:  # after every network: the whole takes a while
            work.write_text(told + "\n")


if __name__ == "__main__":
    main()
