"""Dead letters: to list and understand them, to send them again, and to remove them."""
