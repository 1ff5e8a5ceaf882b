"""The trials of a study are trained, tested and written down, each once."""
