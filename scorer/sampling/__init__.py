"""From a media file to a `SampledClip`, without torch."""

from scorer.sampling.decode import VideoFacts, probe
from scorer.sampling.pool import SamplerPool
from scorer.sampling.sampler import Detectors, sample

__all__ = ["Detectors", "SamplerPool", "VideoFacts", "probe", "sample"]
