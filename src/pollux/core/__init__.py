"""The vocabulary: twin definition, signals, units, time, priors, errors. No method and no I/O."""
