"""What trains and measures the finder of white cells; see train_finder.py beside this folder."""
