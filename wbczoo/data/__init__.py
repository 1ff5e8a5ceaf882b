"""From a data set's files to labelled, split and cached pixels."""
