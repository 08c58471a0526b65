"""The reference as a program: `python -m minimind_ref train|sft|generate|chat|serve|convert|bench`.

    `cli` reads the command line; every other file is one thing that it can do;
    `corpus` makes texts, `reading` takes a user's, and `rows` makes tokens of them;
    `pretraining` (`train`) and `tuning` (`sft`) learn from them, by the loop in `training`, whose
    folder is `runs`, whose `processes` may be several, and which shows `progress`, writes `metrics`
    and draws their `curve`;
    `writing` continues a text, `chat` talks in a terminal, `serve` answers programs;
    `folders` keeps a model on disk, `convert` makes it one that transformers reads, and back;
    `fast` is the same model, rebuilt for speed, and `bench` measures by how much.

The files of the exercises, beside this package, never import it.
"""
