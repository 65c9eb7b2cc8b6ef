"""The pure safety core: rules and supervisor."""
