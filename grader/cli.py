"""The `grader` command.

Exit codes: 0 all is well, 1 something is not as it should be (a check failed, stubs differ, a
figure missed its limit, a file or the output cannot be written), 2 the command was not understood,
3 the course itself is broken, 75 something could not be graded, which another try may do, 130 it
was interrupted. Whoever stops reading the output ends a command without a word, with 1.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import click

from grader.classroom import commands as classroom
from grader.course.syllabus import BrokenCourse, UnknownExercise
from grader.learner import commands as learner
from grader.messages.catalog import LANGUAGES, misnamed_language, say, translated
from grader.messages.click_words import Command, teach_click
from grader.proof import commands as proof

_OUTPUT_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EINVAL)

_ENGLISH: dict[str, str] = {}
"""Each help text as it is in the program, before it is translated."""

teach_click()


class _Grader(Command, click.Group):
    """The commands; whatever they raise becomes one clear line and an exit code.

    Its help, and that of its commands, is in the learner's language.
    """

    def make_context(
        self, info_name: str | None, args: list[str], *rest: Any, **options: Any
    ) -> click.Context:
        _print_what_can_be_printed()
        for name, command in {"grader": self, **self.commands}.items():
            english = _ENGLISH.setdefault(name, command.help or "")
            command.help = translated(f"help.{name}", english)
            for option in command.params:
                if isinstance(option, click.Option) and option.help:
                    name_of_it = f"{name}.{option.name}"
                    english = _ENGLISH.setdefault(name_of_it, option.help)
                    option.help = translated(f"help.{name_of_it}", english)
        return super().make_context(info_name, args, *rest, **options)

    def main(self, *args: Any, **options: Any) -> Any:
        try:
            with _whole_output():
                return super().main(*args, **options)
        except OSError as error:
            why = error.strerror or str(error)
            if not _is_output(error):
                named = error.filename or type(error).__name__
                _stop(say("cli.file_failed", file=named, why=why), 1)
            if error.errno != errno.EPIPE:
                with contextlib.suppress(OSError):
                    click.echo(say("cli.no_output", why=why), err=True)
            _write_no_more()
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        from grader.course.stub_markers import MarkerError
        from grader.course.stubs import MissingFile

        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _stop(say("cli.interrupted"), 130)
        except UnknownExercise as error:
            raise click.UsageError(str(error)) from None
        except (BrokenCourse, MarkerError) as error:
            _stop(str(error), 3)
        except MissingFile as error:
            _stop(str(error), 1)


@contextlib.contextmanager
def _whole_output() -> Iterator[None]:
    """Makes sure that all output is written while a failure can still become a sentence.

    When Python ends it would only be a traceback; a command may end by `sys.exit`, too.
    """
    try:
        yield
    except SystemExit:
        _flush()
        raise
    _flush()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


def _is_output(error: OSError) -> bool:
    """Whether it was the output that could not be written: with a file, the error has its name."""
    return error.filename is None and error.errno in _OUTPUT_ERRORS


def _write_no_more() -> None:
    """Throw away what is left in a buffer: Python would try to write it once more when it ends."""
    with contextlib.suppress(OSError, AttributeError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _print_what_can_be_printed() -> None:
    """A file or an old terminal may lack a character; that must not end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _stop(message: str, code: int) -> NoReturn:
    from grader.messages.console import Console

    Console().stop(message, code)


@click.group(cls=_Grader, invoke_without_command=True)
@click.option("-q", "--quiet", is_flag=True, help="Only the result: no tables, no advice.")
@click.option("-v", "--verbose", is_flag=True, help="Also what is usually left out.")
@click.pass_context
def main(ctx: click.Context, quiet: bool, verbose: bool) -> None:
    """Your progress through the course; see the commands below for more.

    Without a command: runs every exercise you have started, in a separate process, and shows
    what is done, what stands in the way of the rest, and what is next.
    """
    from grader.messages.console import Wordiness

    if asked := misnamed_language():
        raise click.UsageError(say("cli.language", asked=asked, known=", ".join(LANGUAGES)))
    if quiet and verbose:
        raise click.UsageError(say("cli.quiet_and_verbose"))
    if quiet or verbose:
        ctx.obj = Wordiness.QUIET if quiet else Wordiness.VERBOSE
    if ctx.invoked_subcommand is None:
        learner.show_progress()


for _command in (*learner.COMMANDS, *classroom.COMMANDS, *proof.COMMANDS):
    main.add_command(_command)
