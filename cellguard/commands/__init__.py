"""The commands people type, one module each; `command` in it is what cellguard.main calls."""
