"""`fvq config`: a sample file of the settings."""

from __future__ import annotations


def config() -> None:
    """Print a TOML file of all settings, each with its meaning, unit, bounds and default, to be named in FVQ_CONFIG."""
    from streams.sample_config import sample

    print(sample(), end="")
