"""A recorded trip once more through the guard's own rules and supervisor: what they saw, decided, and would have decided."""
