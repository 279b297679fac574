"""How each stage is trained in the paper, value by value, with who says so.

What the paper lost or never said is taken from the code it comes from (EchoNet-Synthetic, 2024;
echonet, the authors' fork of echonet-dynamic) or from what came from it (MRFlow), and where those
are silent from us.
"""

from __future__ import annotations

from echoflow.training.provenance import Says

SYNTHETIC = "lineage, EchoNet-Synthetic"
MRFLOW = "lineage, MRFlow"
ECHONET = "lineage, echonet"
PIXELS = 3 * 112**2
FRAMES = 702_000  # every fifth one of the paper's training videos: 263, 52, 73 and 314 thousand
GREY_MEAN = (32.660564, 32.79394, 33.07615)
GREY_STD = (49.802944, 49.89014, 50.17571)

GPU = Says(
    "ours",
    {
        "engine.workers": 8,
        "engine.validate_every": 2_500,
        "engine.checkpoint_every": 1_000,
        "engine.picture_every": 10_000,
    },
)
AVAE = (
    Says(SYNTHETIC, {"engine.optimiser": "adam", "engine.schedule": "constant"}),
    Says(f"{SYNTHETIC}: 8 GPUs x 32 x 2", {"engine.batch": 512}),
    Says(f"{SYNTHETIC}: 2e-6 x 2 x 8 x 32", {"engine.lr": 1.024e-3}),
    Says(
        f"{SYNTHETIC}: CompVis' defaults",
        {
            "engine.betas": (0.5, 0.9),
            "engine.weight_decay": 0.0,
            "avae.adversary": 0.5,
            "avae.adversary_width": 64,
            "avae.adversary_lead": 0,
            "avae.adversary_rate": 1.0,
            "avae.adversary_most": 1e4,
        },
    ),
    Says(
        f"{SYNTHETIC}: 1e-6 where the loss is a sum over 3 x 112 x 112 pixels; here a mean",
        {"avae.kl": float(f"{1e-6 / PIXELS:.3g}")},
    ),
    Says("paper: 300 epochs; 0.70 M frames at this batch", {"engine.steps": 300 * FRAMES // 512}),
    Says("paper: from epoch 30", {"avae.adversary_from": 30 * FRAMES // 512}),
    Says("paper: one frame in five", {"avae.every": 5}),
    Says("paper, eq. 1-7", {"avae.reconstruction": "mse"}),
    Says("paper, eq. 1-7; 1 in EchoNet-Synthetic", {"avae.lpips": 0.0}),
    Says("ours, against the high rate", {"engine.warmup": 1_000, "engine.clip": 1.0}),
)
FLOW = (
    Says(
        MRFLOW,
        {
            "engine.optimiser": "adamw",
            "engine.lr": 1e-4,
            "engine.betas": (0.9, 0.999),
            "engine.weight_decay": 0.01,
            "engine.schedule": "inverse-sqrt",
            "engine.warmup": 2_000,
            "engine.slope": 2.0,
            "engine.floor": 1e-6,
            "engine.clip": 1.0,
            "engine.precision": "bf16",
            "flow.times": "uniform",
            "flow.shift": 1.0,
        },
    ),
    Says(f"{MRFLOW}: diffusers' default", {"engine.ema": 0.9999}),
    Says("paper: mean and std are stored, latents drawn", {"posterior": "draw"}),
)
LIFM = (
    *FLOW,
    Says("paper", {"engine.precision": "bf16"}),
    Says(f"{SYNTHETIC}: its image model", {"engine.batch": 256, "engine.steps": 500_000}),
    Says("paper: a single frame", {"flow.frames": 1}),
    Says("ours: the paper's chances are lost", {"flow.drop_view": 0.1, "flow.drop_mask": 0.1}),
)
LVFM = (
    *FLOW,
    Says(f"{SYNTHETIC}: 8 GPUs x 16", {"engine.batch": 128}),
    Says(f"{SYNTHETIC} and MRFlow", {"engine.steps": 500_000}),
    Says("paper: 2 s at 32 frames per second", {"flow.frames": 64}),
    Says("paper: the anatomy is no target frame", {"flow.anatomy": "outside"}),
    Says(
        f"{SYNTHETIC}: named there, not applied; each on its own as in the paper",
        {"flow.drop_ef": 0.1, "flow.drop_frame": 0.1},
    ),
    Says(MRFLOW, {"flow.noise_offset": 0.05, "flow.frame_noise": 0.05}),
)
REID = (
    Says(
        SYNTHETIC,
        {
            "engine.optimiser": "adam",
            "engine.lr": 1e-4,
            "engine.betas": (0.9, 0.999),
            "engine.weight_decay": 0.0,
            "engine.batch": 128,
            "engine.schedule": "constant",
            "engine.warmup": 0,
            "engine.clip": 0.0,
            "engine.ema": 0.0,
            "reid.disturb": False,
        },
    ),
    Says("ours: EchoNet-Synthetic stops when it no longer helps", {"engine.steps": 20_000}),
    Says("released code", {"reid.head": "difference"}),
    Says("paper, eq. 19-22", {"reid.pair": 1.0, "reid.contrast": 0.0}),
    Says("paper: mean and std are stored, latents drawn", {"posterior": "draw"}),
)


EF = (
    Says(
        ECHONET,
        {
            "engine.optimiser": "sgd",
            "engine.lr": 1e-4,
            "engine.momentum": 0.9,
            "engine.weight_decay": 1e-4,
            "engine.schedule": "step",
            "engine.fall": 0.1,
            "engine.warmup": 0,
            "engine.batch": 20,
            "engine.clip": 0.0,
            "engine.ema": 0.0,
            "engine.precision": "fp32",
            "ef.loss": "mse",
            "ef.augment": "crop",
            "ef.frames": 32,
            "ef.pad": 12,
            "ef.mean": GREY_MEAN,
            "ef.std": GREY_STD,
            "ef.bias": 55.6,
        },
    ),
    Says(f"{ECHONET}: the best epoch on real VAL", {"engine.keep": "best"}),
)
LV = (
    Says(
        "lineage, echonet-dynamic",
        {
            "engine.optimiser": "sgd",
            "engine.momentum": 0.9,
            "engine.weight_decay": 0.0,
            "engine.schedule": "constant",
            "engine.warmup": 0,
            "engine.batch": 20,
            "engine.clip": 0.0,
            "engine.ema": 0.0,
            "engine.precision": "fp32",
            "lv.loss": "bce-sum",
            "lv.frames": "ed-es",
            "lv.statistics": 128,
        },
    ),
    Says(
        "lineage, echonet-dynamic: 1e-5 for the sum of 20 videos, here their mean",
        {"engine.lr": 2e-4},
    ),
    Says("lineage, echonet-dynamic: 50 epochs of 7460 videos", {"engine.steps": 50 * (7460 // 20)}),
    Says(
        "lineage, echonet-dynamic: the best epoch on VAL",
        {"engine.keep": "best", "engine.validate_every": 7460 // 20},
    ),
)
