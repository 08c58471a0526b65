"""Pictures of finished exercises: the learner's own functions at work, drawn from their outputs.

Each exercise that has a picture has one module here, named after the exercise; each ends with
`PICTURE`. Its scenarios run in the isolated worker, so they are written like those of the tests.
Apart from `canvas` and `picture`, such a module imports only `messages.catalog` and `observation`.
"""
