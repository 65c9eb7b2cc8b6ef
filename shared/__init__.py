"""The contract between cellguard's programs: topics, messages, signals, errors, framing, and the one door to MQTT."""
