"""How well a model agrees with labels: figures, baselines, reports, and the gate before promotion."""
