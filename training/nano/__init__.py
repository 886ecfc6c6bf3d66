"""Training the whole small model, and what each part of it is worth."""
