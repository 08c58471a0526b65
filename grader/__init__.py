"""Runs, scores and reports the course. Each package imports only those below it:

Doors, called from outside and never moved
    `cli` is the command, `plugin` is pytest's side, `early` is loaded before any conftest.py.
What people do
    `proof` proves the tests: the course check, the red team, the figures;
    `learner` is one learner's day: progress, history, watch, update, report;
    `classroom` is about submissions: grading one, and what this machine can lock in.
How an answer is judged
    `judging` runs an exercise's tests on it, says what is wrong and which mistake that is;
    `isolation` runs it in a locked process;
    `results` is the record of a run, and its forms for other programs;
    `course` is what there is to learn, and whose answer is meant.
What everything rests on
    `observation` is what can be seen of a run: the only code beside an answer;
    `messages` has every sentence in every language, and makes text safe to show.
"""
