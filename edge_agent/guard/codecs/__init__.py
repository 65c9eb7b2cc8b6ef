"""PURE turning of bytes into the guard's readings and back: one module a protocol, no I/O."""
