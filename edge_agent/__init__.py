"""The agent on the Raspberry Pi: guard, which owns devices and safety, and link, which talks to the broker."""
