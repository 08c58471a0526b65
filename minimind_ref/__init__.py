"""The reference MiniMind: complete, fast, and derived independently of the worked answers."""
