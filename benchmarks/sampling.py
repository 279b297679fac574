"""How fast EchoFlow samples on a GPU, against what that GPU can do.

Usage: python benchmarks/sampling.py [--device cuda] [--minutes 8] [--smoke]. Random weights at the
published sizes: forward passes by batch and `inference` setting, whole samples with and without
guidance, decoding, and videos from anatomy to pixels by number of steps. Operations are twice the
multiply-adds of `echoflow models`, attention included; their ceiling is a large bfloat16 product,
measured first. Rows that the time does not allow are listed as left out. `--smoke` takes tiny
networks, to see on any machine that everything runs.

The paper prints 2.94 s for a video of 100 steps and 173 ms for an anatomy of UNet-L (table 4, the
hardware is not named).
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from where import where

from echoflow.condition import Condition
from echoflow.files import atomic_file
from echoflow.latents import LatentSpace, LatentStats
from echoflow.networks import zoo
from echoflow.networks.avae import AVAEConfig
from echoflow.networks.counting import cost
from echoflow.networks.inference import for_inference
from echoflow.networks.replayed import Replayed
from echoflow.pipeline import Generator
from echoflow.process import RectifiedFlow, bound
from echoflow.sampling import SamplingPlan

VIDEOS = ("FMvT-S/2-4f4", "FMvT-S/2-4f4-v2", "FMvT-S/4-4f4")
ANATOMIES = ("FMiT-S/2-4f4", "UNet-L-16f8")
BATCHES = (1, 8, 32)
SETTINGS = ("fp32", "bf16", "bf16, compiled", "bf16, compiled, one graph")
STEPS = (4, 12, 25, 100)


@dataclass
class Bench:
    """The device, how long there is, and what was found."""

    device: torch.device
    deadline: float
    smoke: bool
    out: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    ceiling: dict[str, float] = field(default_factory=dict)

    def seconds(self, run: Callable[[], object], least: int = 3, spend: float = 1.0) -> float:
        """Median of some calls after one that is not counted."""
        times: list[float] = []
        begin = time.perf_counter()
        while len(times) <= least or (time.perf_counter() - begin < spend and len(times) < 50):
            start = time.perf_counter()
            run()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        return statistics.median(times[1:])

    def add(self, what: str, made: Callable[[], dict[str, Any]]) -> None:
        """One row, unless the time is up or it does not fit; the file is written after each."""
        if time.monotonic() > self.deadline:
            self.left_out.append(f"{what}: no time")
        else:
            reset_peak(self.device)
            try:
                row = {"what": what, **made(), "peak MB": peak(self.device)}
            except torch.OutOfMemoryError:
                self.left_out.append(f"{what}: no memory")
            else:
                self.rows.append(row)
                print("  ".join(f"{k} {v}" if k != "what" else f"{v:62s}" for k, v in row.items()))
        self.write()

    def write(self) -> None:
        card = {**where(), "device": name_of(self.device), "smoke": self.smoke}
        card |= {"ceiling": self.ceiling, "rows": self.rows, "left out": self.left_out}
        with atomic_file(self.out) as work:
            work.write_text(json.dumps(card, indent=1) + "\n")


def name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else str(device)


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak(device: torch.device) -> int | None:
    return round(torch.cuda.max_memory_allocated() / 2**20) if device.type == "cuda" else None


def ceilings(bench: Bench) -> dict[str, float]:
    """What a large product and a large copy reach."""
    n = 512 if bench.smoke else 8192
    a = torch.randn(n, n, device=bench.device, dtype=torch.bfloat16)
    big = torch.empty((1 if bench.smoke else 256) * 2**20, device=bench.device)
    product, copied = bench.seconds(lambda: a @ a), bench.seconds(lambda: big.clone())
    found = {"bf16 TFLOP/s": 2e-12 * n**3 / product, "copy GB/s": 8e-9 * big.numel() / copied}
    return {name: round(value, 2) for name, value in found.items()}


def configured(name: str, smoke: bool) -> Any:
    """The config of a name; a tiny one of the same family for a smoke test."""
    config: Any = zoo.config_of(name)
    if not smoke:
        return config
    if name.startswith("UNet"):
        return replace(
            config, widths=(32, 64), layers=1,
            down_block_types=("AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D"),
        )  # fmt: skip
    small = replace(config, width=48, depth=2, heads=3)
    return replace(small, frames=4) if name.startswith("FMvT") else small


def random_weights(config: Any, device: torch.device) -> Any:
    """Every tensor drawn so that signals keep their size through the network."""
    torch.manual_seed(0)
    net = zoo.build(config)
    for p in net.parameters():
        nn.init.normal_(p, std=0.02 if p.ndim < 2 else p[0].numel() ** -0.5)
    return net.eval().requires_grad_(False).to(device)


def in_setting(net: nn.Module, setting: str) -> nn.Module | None:
    """The network in one of `SETTINGS`; None where that makes no difference."""
    if setting == "fp32":
        return net
    if setting == "bf16":
        return for_inference(net, "bf16")
    fast = for_inference(copy.deepcopy(net), "compiled")
    if setting == SETTINGS[-1]:
        return fast if isinstance(fast, Replayed) else None
    return fast.net if isinstance(fast, Replayed) else fast


def shape_of(config: Any, name: str) -> tuple[int, ...]:
    """A latent sample without its batch."""
    side = config.size if isinstance(config.size, tuple) else (config.size, config.size)
    return (config.channels, *((config.frames,) if name.startswith("FMvT") else ()), *side)


def asked(config: Any, name: str, b: int) -> Condition:
    shape = shape_of(config, name)
    if name.startswith("FMvT"):
        frame = torch.randn(b, shape[0], *shape[2:])
        return Condition(ef=torch.linspace(20, 70, b), frame=frame)
    mask = torch.rand(b, 1, *shape[1:]).round()
    return Condition(view=torch.arange(b) % 3, mask=mask)


@torch.no_grad()
def forwards(bench: Bench, name: str) -> None:
    """Milliseconds of one step by setting and batch."""
    config = configured(name, bench.smoke)
    net, products = random_weights(config, bench.device), 2 * cost(config).macs
    for setting in SETTINGS:
        player = in_setting(net, setting)
        for b in BATCHES[: 2 if bench.smoke else 3] if player is not None else ():

            def row(player: Any = player, b: int = b) -> dict[str, Any]:
                x = torch.randn(b, *shape_of(config, name), device=bench.device)
                t = torch.full((b,), 0.5, device=bench.device)
                step = bound(player, asked(config, name, b).to(bench.device), t[:1])
                seconds = bench.seconds(lambda: step(x, t))
                rate = 1e-12 * products * b / seconds
                return {
                    "ms": round(1e3 * seconds, 3),
                    "TFLOP/s": round(rate, 2),
                    "of ceiling %": round(100 * rate / bench.ceiling["bf16 TFLOP/s"], 1),
                }

            bench.add(f"{name}, one step, {setting}, batch {b}", row)


def generator(bench: Bench, name: str) -> tuple[Generator, Any]:
    """A stage as `load(..., inference="compiled")` makes it."""
    config = configured(name, bench.smoke)
    net = for_inference(random_weights(config, bench.device), "compiled")
    return Generator(net, RectifiedFlow(1.0), shape_of(config, name)), config


def samples(bench: Bench, name: str, batches: tuple[int, ...]) -> None:
    """Latents in many steps, with and without guidance."""
    stage, config = generator(bench, name)
    steps = 2 if bench.smoke else 100
    for scale in (1.0, 2.0):
        for b in batches:

            def row(scale: float = scale, b: int = b) -> dict[str, Any]:
                plan = SamplingPlan(steps=steps, solver="euler", scale=scale)
                cond = asked(config, name, b)
                seconds = bench.seconds(lambda: stage.sample(cond, range(b), plan), 2, 0.0)
                return {"s each": round(seconds / b, 4)}

            bench.add(f"{name}, {steps} steps, guidance {scale:g}, batch {b}", row)


def videos(bench: Bench, name: str, b: int) -> None:
    """From anatomies to pixels with guidance; decoding apart."""
    stage, config = generator(bench, name)
    avae = AVAEConfig(config.channels, (8, 16), 1, 4) if bench.smoke else zoo.config_of("A-VAE-4f4")
    coder = random_weights(avae, bench.device)
    zeros = torch.zeros(config.channels)
    space = LatentSpace(coder, LatentStats(zeros, zeros + 1)).fast(torch.bfloat16, 64)
    cond = asked(config, name, b)

    def film(plan: SamplingPlan) -> Tensor:
        return space.decode(stage.sample(cond, range(b), plan))

    z = torch.randn(b, *stage.shape, device=bench.device)
    bench.add(
        f"decoding {config.frames} frames, batch {b}",
        lambda: {"s each": round(bench.seconds(lambda: space.decode(z), 2, 0.0) / b, 4)},
    )
    for steps in STEPS[:1] if bench.smoke else STEPS:

        def row(steps: int = steps) -> dict[str, Any]:
            plan = SamplingPlan(steps=steps, scale=2.0)
            seconds = bench.seconds(lambda: film(plan), 2, 0.0) / b
            return {"s each": round(seconds, 4), "videos/s": round(1 / seconds, 2)}

        bench.add(f"{name}, videos, {steps} steps, guided, decoded, batch {b}", row)


def parts(bench: Bench) -> Iterator[Callable[[], None]]:
    """What matters most comes first."""
    yield lambda: forwards(bench, VIDEOS[0])
    yield lambda: videos(bench, VIDEOS[0], 8)
    yield lambda: samples(bench, VIDEOS[0], (1, 8))
    for name in ANATOMIES:
        yield lambda name=name: samples(bench, name, (1,))
    for name in VIDEOS[1:]:
        yield lambda name=name: forwards(bench, name)
    yield lambda: videos(bench, VIDEOS[0], 1)
    yield lambda: videos(bench, VIDEOS[1], 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sampling.json"))
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here; --device cpu --smoke shows whether everything runs")
    bench = Bench(device, time.monotonic() + 60 * args.minutes, args.smoke, args.out)
    bench.ceiling = ceilings(bench)
    print(name_of(device), bench.ceiling)
    for part in parts(bench):
        part()
    for line in bench.left_out:
        print("left out:", line)


if __name__ == "__main__":
    main()
