"""Runs, scores and reports the course; where to look:

One check of one answer
    `trial` asks an answer and the reference; `scenarios` and `samples` are what a test is written
    with; `observing` is what can be seen of a run, with `recording`, `context`, `learner_warnings`,
    `globalstate`, `cost` and the package `bans`; `tolerance` is what should have been seen,
    `comparing` what is wrong, `diagnosis` which mistake that is and `changes` what it changes;
    `messages`, `advice`, `summary` and `complaints` say it. `deadline` ends what takes too long,
    `late` imports beforehand what torch imports late, `eager` compiles nothing.
Whose answer
    `curriculum` (the syllabus), `implementations`, `loading`; `imports` refuses what cannot be
    given, `parsing` reads a text once; the package `isolation` locks an answer away, `doctor` says
    how far this machine can.
Running tests
    `plugin` and `early` are pytest's side, `pytest_runs` runs it for the grader; `remembering`
    keeps a learner's own runs.
The proof
    `check` tries everything, `conclusions` says what that proves; `variants` are mistakes and
    alternatives; `markers` makes a stub, `stubs` keeps the files.
The learner's day
    `progress`, `results`, `history`, `settings`; the package `watching`; `update`, `obtaining`;
    `localization` is about which function fails, `hints` which hint comes first;
    for a report `reporting`, `account`, `html_report`, `exports` and the package `pictures`.
Submissions
    `grading`; `redteam` attacks it.
Words and files
    `cli` takes commands, `report` alone prints, `catalogue` has every sentence in each language,
    `click_words` lends click some of them;
    `harmless` and `writing` are careful with text and files.
Figures
    `bench`, `bench_busy`, `bench_history`, `bench_report` and `bench_watch` measure `figures`;
    `driven` is a terminal, `processes` are others.
"""
