"""Which model version serves: following the registry, publishing, promoting, rolling back."""
