"""From a media file to a `SampledClip`, without torch.

The first use of `probe`, `sample` or `Detectors` loads the decoders: a process that only gives files to a pool needs none.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scorer.sampling.detectors import Detectors
    from scorer.sampling.facts import VideoFacts
    from scorer.sampling.pool import SamplerPool
    from scorer.sampling.probing import probe
    from scorer.sampling.sampler import sample

__all__ = ["Detectors", "SamplerPool", "VideoFacts", "probe", "sample"]

_HOMES = {"Detectors": "detectors", "SamplerPool": "pool", "VideoFacts": "facts", "probe": "probing", "sample": "sampler"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
