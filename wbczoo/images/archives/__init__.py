"""Zip and tar files, whose members are read as files are."""
