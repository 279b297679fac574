"""From nothing to a page in minutes: a filtered dataset, an EF sweep, and how well it went."""

from echoflow.quickstart.run import quickstart

__all__ = ["quickstart"]
