"""Pictures for people: contact sheets, plots, and what a notebook shows."""
