"""Stage 4: what shall be done, and may it? Guard, approvals, audit, levels, stop, operator dialogue."""
