"""All ladders of damage, by name."""

from __future__ import annotations

from training.data.damage.first import first_ladders
from training.data.damage.ladder import Ladder

LADDERS: dict[str, Ladder] = {ladder.name: ladder for ladder in first_ladders()}
"""Name -> ladder. The names are the kinds of labels.csv."""
