"""Runs, scores and reports the course; where to look:

One check of one answer
    `trial` asks an answer and the reference; `scenarios` and `samples` are what a test is written
    with; `observing` is what can be seen of a run, with `recording`, `context`, `learner_warnings`,
    `globalstate`, `cost` and the package `bans`; `tolerance` is what should have been seen,
    `comparing` what is wrong, `diagnosis` which mistake that is and `changes` what it changes;
    `messages`, `advice` and `summary` say it.
Whose answer
    `curriculum` (the syllabus), `implementations`, `loading`; the package `isolation` locks an
    answer away, `doctor` says how far this machine can.
Running tests
    `plugin` and `early` are pytest's side, `pytest_runs` runs it for the grader; `remembering`
    keeps a learner's own runs.
The proof
    `check` tries everything, `conclusions` says what that proves; `variants` are mistakes and
    alternatives; `markers` makes a stub, `stubs` keeps the files.
The learner's day
    `progress`, `results`, `history`, `settings`; the package `watching`; `update`, `obtaining`;
    for a report `reporting`, `account`, `html_report`, `exports` and the package `pictures`.
Submissions
    `grading`; `redteam` attacks it.
Words and files
    `cli` takes commands, `report` alone prints, `catalogue` has every sentence in each language;
    `harmless` and `writing` are careful with text and files.
Figures
    `bench`, `bench_history`, `bench_report`, `bench_watch`, `figures`; `driven` is a terminal.
"""
