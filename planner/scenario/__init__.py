"""What was asked: one validated object, the names in it looked up, and what may be changed in it."""
