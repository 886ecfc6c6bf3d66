"""From segment events to scores, alerts and training clips: everything that touches Kafka, and the command line."""
