"""From a live source to segment events."""
