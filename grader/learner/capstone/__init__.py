"""The capstone: a model made of the learner's own parts only, trained and talked to.

`recipe` says how large and how long; `assemble` loads the parts and `checks` compares them with the
reference's; `data` turns texts into batches, `train` learns from them and can be interrupted,
`writing` lets the model write; `record` is what all that leaves on the disk, and `screen` shows it.

The learner's code runs in this process, as in pytest: nothing is graded here.
"""
