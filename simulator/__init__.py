"""A whole rig without hardware: battery, BMUs, inverter and Arduino behind real links, with faults and the truth."""
