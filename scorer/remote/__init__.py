"""The served scorer: the body that carries clips, what sends it, and what answers it."""
