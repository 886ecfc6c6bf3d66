"""What is made from a model's weights, in its folder."""

from __future__ import annotations

from pathlib import Path

from scorer.runtime.graph import GRAPH_FILE


def remove_results(model: Path) -> None:
    """Remove a model's graph and figures before new weights are written.

    A run that is killed then leaves none of those before, which would be served and published as the new weights'.
    """
    for name in (GRAPH_FILE, "metrics.json", "README.md"):
        (model / name).unlink(missing_ok=True)
