"""Everything that touches Kafka, and the command line."""
