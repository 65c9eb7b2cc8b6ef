"""The whole system on a simulated rig: what is started, in which order, and how it ends."""
