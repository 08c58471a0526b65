"""Nothing; the archive beside it is the attack."""
