"""A run or an export answers test photographs that it has not seen, and is measured."""
