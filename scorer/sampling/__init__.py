"""From a media file to a `SampledClip`, without torch."""
