"""What models learn from: degraded clips, rated clips, and both as sampled tensors."""
