"""Connectors: one file per protocol, one small Protocol in `base`."""
