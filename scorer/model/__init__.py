"""The FVQ-Rater model: configuration, encoders, composition."""
