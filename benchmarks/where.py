"""Where a benchmark ran: goes into the JSON of every one."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("echoflow", "torch", "numpy", "scipy", "diffusers", "av")


def where() -> dict[str, object]:
    """Processor, system and the versions that matter."""
    return {
        "machine": f"{processor()}, {platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    """The processor's model name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    print(where())
