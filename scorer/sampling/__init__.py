"""From a media file to a `SampledClip`, without torch."""

from scorer.sampling.decode import probe
from scorer.sampling.detectors import Detectors
from scorer.sampling.facts import VideoFacts
from scorer.sampling.pool import SamplerPool
from scorer.sampling.sampler import sample

__all__ = ["Detectors", "SamplerPool", "VideoFacts", "probe", "sample"]
