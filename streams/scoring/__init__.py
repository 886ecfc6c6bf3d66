"""The score agent: from a message of the segments topic to its answer, and to the acknowledged offset."""
