"""Pages of `docs/` that are made from the guard's own tables, so that they cannot say anything else."""
