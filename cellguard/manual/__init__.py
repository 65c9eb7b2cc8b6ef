"""Pages of `docs/` that are made from the tables and models themselves, so that they cannot say anything else."""
