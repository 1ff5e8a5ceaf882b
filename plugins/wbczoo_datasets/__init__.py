"""The data sets that ship: each module turns files that a user has into labelled samples."""
