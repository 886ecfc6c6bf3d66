"""Kafka: connections, clients, the loop of a reader, the supervised agent, the topics, the embedded broker."""
