"""Loop IR to C text, through the skeletons in `templates/`."""
