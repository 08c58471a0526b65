"""The one record of a run, and its forms."""
