"""From scores to alerts, and from alerts to their receivers."""
