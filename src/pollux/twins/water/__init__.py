"""Reference twin A: a city water network, mirrored against EPANET's Net1 in its own process."""
