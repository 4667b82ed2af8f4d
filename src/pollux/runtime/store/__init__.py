"""The journal, snapshots, history and quarantine on the disk."""
