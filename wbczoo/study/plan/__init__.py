"""A TOML file becomes the trials of a study."""
