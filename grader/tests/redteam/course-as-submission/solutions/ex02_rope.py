"""Where the solution would be."""
