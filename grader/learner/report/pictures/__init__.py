"""Pictures of finished exercises: the learner's own functions at work, drawn from what they gave.

One module per exercise that has a picture, by the exercise's name; each ends with `PICTURE`. Its
scenarios run in the isolated worker, so they are written like those of the tests. A module may
import no other of the course than `catalogue`, `canvas` and `painting`.
"""
