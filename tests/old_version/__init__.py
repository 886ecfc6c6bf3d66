"""The version before this one: the commit that stands for it (`commit`), and what it has stored (`files/`)."""
