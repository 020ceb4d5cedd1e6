"""Contact sheets, plots, and pictures in notebooks."""
