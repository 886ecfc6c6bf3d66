"""Tuning a LoRA adapter on a base from rated clips, with replay of what the base has learned."""
