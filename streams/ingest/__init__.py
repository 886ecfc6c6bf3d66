"""Turns a live source into segment events, and announces them to the workers."""
