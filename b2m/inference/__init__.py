"""From a photo or a video to clips: models are run here, and nothing is trained."""
