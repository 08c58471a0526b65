"""`grader watch`: every save is checked at once, in a terminal that stays open."""
