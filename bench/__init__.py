"""Figures of the hot paths: each a ratio, the two sides measured alternately in one run, equality checked before timing."""
