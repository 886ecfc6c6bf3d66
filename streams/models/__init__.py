"""Which model version serves: follows the registry, publishes, rolls back, announces."""
