"""`fvq doctor`: whether a set-up is right, and what to do where it is not."""
