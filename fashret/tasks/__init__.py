"""Tasks: queries, the gallery that they search, and the relevant items."""
