"""The command people type: no logic of its own, everything else is imported when it is needed."""
