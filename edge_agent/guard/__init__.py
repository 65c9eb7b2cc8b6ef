"""The guard: devices, the safety core, and the loop between them; no network."""
