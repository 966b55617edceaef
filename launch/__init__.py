"""Where processes run; standard library only."""
