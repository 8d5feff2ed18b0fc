"""Tasks: what a query is made of, what is searched, and what is relevant."""
