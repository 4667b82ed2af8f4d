"""Fleets: all twins of one definition in one kernel, with one fold, one journal and one table."""
