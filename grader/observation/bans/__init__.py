"""Did the answer call the built-in that it was asked to write?

A ban is a dotted name from the syllabus and covers every spelling of that built-in (`spellings`).
Two detectors look for them, and a course needs both:

* `scan_source` reads the text (`source_scan`). It runs where the learner's code does not.
* `BanWatch` watches a run (`call_watch`) and sees names that are put together as it goes.

Libraries (tokenizers) leave no trace in torch, so only the source scan finds them.

All of it is imported at once, with nothing but the standard library and torch: a locked worker can
read no file later.
"""

from grader.observation.bans.call_watch import BanWatch
from grader.observation.bans.source_scan import scan_source
from grader.observation.bans.spellings import BanHit
from grader.observation.parsing import UnreadableSource

__all__ = ["BanHit", "BanWatch", "UnreadableSource", "scan_source"]
