"""Command lines: one file for each subcommand of ``kd``; the scripts in ``tools/`` call the same functions."""
