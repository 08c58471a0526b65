"""Learner code in a process that holds nothing of the judge's.

`host` is the judge's side of one worker and speaks to it by `streams` of `frames`. `launching`
starts processes without torch: the `zygote`, which has imported it and forks a `worker` in
milliseconds. Each locks itself in by `sandbox` and `landlock` before it reads the answer.
"""
