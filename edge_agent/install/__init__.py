"""The agent as services of a Pi: what is wanted there (a table), what must change for it, and the changing."""
