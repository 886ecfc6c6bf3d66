"""From clips to a better model: degraded data, training, evaluation."""
