"""What if we left it out? One question a file, each answered by training small models.

An experiment trains the reference with one thing changed and everything else equal: the weights at
the start, the batches, the number of steps and the learning rate. It does so under several seeds,
because one run proves nothing. `grader experiment` shows them; `EXPERIMENTS` in `registry` lists
them. Nothing here knows the grader.
"""
