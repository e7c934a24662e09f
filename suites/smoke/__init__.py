"""The main job: the spine, end to end."""
