"""The doctor: a table of checks, from the broker down to the pins, each with what it found and what to do."""
