"""What there is to learn, and whose answer is meant."""
