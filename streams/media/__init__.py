"""From an event's URI to a file on the local disk."""
