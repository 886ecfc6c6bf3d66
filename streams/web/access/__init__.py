"""Who may do what on the wall: tokens, sessions, hosts and origins, limits."""
