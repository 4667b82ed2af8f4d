"""The shell: engine, wiring, connectors, store, servers. It does no mathematics and imports no JAX."""
