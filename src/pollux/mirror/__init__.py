"""Stage 2, mirror: where is the asset now? Assimilate readings, judge their quality, track drift."""
