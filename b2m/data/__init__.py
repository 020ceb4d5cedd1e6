"""Where training data comes from: rendered scenes, real clips, datasets on disk."""
