"""The tables: one file each, or one for the tables of a kind."""
