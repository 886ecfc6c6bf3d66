"""From a clip to a score: sampling, the FVQ-Rater model, the engine."""
