"""From the lab's old JSON settings to `edge.toml`: read, translate by a table, keep only what cellguard accepts."""
