"""Flawless references as live streams have them: people and places, light, camera, layouts and overlays, drawn from a seed."""
