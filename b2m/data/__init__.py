"""Training data: rendered scenes, real clips, data sets on disk."""
