"""A conversation in the terminal: `python -m minimind_ref chat`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import click

from .writing import Message, Settings, TooLong, Writer

HELP = """\
/clear   forget the conversation and begin a new one
/help    show these lines
/quit    leave; Ctrl-D does it, too
Ctrl-C   stop the answer that is being written"""

_COMMANDS = ("/clear", "/help", "/quit")


@dataclass
class Conversation:
    """What was said so far, as much of it as the model can read at once.

    Attributes:
        system: what the model is told before everything else; it is never forgotten.
        turns: questions and answers in turn.
    """

    writer: Writer
    settings: Settings
    system: str | None = None
    turns: list[Message] = field(default_factory=list)

    def ask(self, question: str) -> int:
        """Add a question and forget the oldest turns if there is no room for an answer.

        Returns:
            How many turns were forgotten.

        Raises:
            TooLong: the question alone is too long; it is not added.
        """
        self.turns.append({"role": "user", "content": question})
        turns = self.turns
        while not self._leaves_room(turns):
            if len(turns) <= 2:  # what is left is the question, which cannot be cut
                turns = self.turns[-1:]
                break
            turns = turns[2:]
        if len(self.writer.conversation(self._with_system(turns))) >= self.writer.context:
            self.turns.pop()
            raise TooLong(
                "This message is too long for the model, even by itself: with all that belongs "
                f"to it, it must have fewer than {self.writer.context} tokens. Make it shorter."
            )
        forgotten = len(self.turns) - len(turns)
        self.turns = turns
        return forgotten

    def answered(self, text: str) -> None:
        """Keep an answer, or forget the question if there is none."""
        if text:
            self.turns.append({"role": "assistant", "content": text})
        else:
            self.turns.pop()

    def messages(self) -> list[Message]:
        """All that the model reads."""
        return self._with_system(self.turns)

    def _with_system(self, turns: list[Message]) -> list[Message]:
        if self.system is None:
            return turns
        return [{"role": "system", "content": self.system}, *turns]

    def _leaves_room(self, turns: list[Message]) -> bool:
        """Whether a quarter of the context, or what was asked for if that is less, is left."""
        context = self.writer.context
        wanted = min(self.settings.max_new_tokens or context, context // 4)
        return len(self.writer.conversation(self._with_system(turns))) + wanted <= context


def chat(
    writer: Writer, settings: Settings, *, system: str | None, read: Callable[[], str]
) -> None:
    """Talk until the user leaves.

    Args:
        writer: of the answers.
        settings: how they are drawn.
        system: what the model is told before everything else.
        read: gives the user's next line; EOFError means that there is none.
    """
    conversation = Conversation(writer, settings, system)
    conversation.writer.conversation(conversation.messages())  # refuses a model that cannot chat
    while True:
        try:
            line = read().strip()
        except EOFError:
            return
        except KeyboardInterrupt:
            click.echo("\nTo leave, press Ctrl-D or type /quit.")
            continue
        if line == "/quit":
            return
        if line == "/clear":
            conversation.turns.clear()
            click.echo("The conversation is forgotten.")
        elif line == "/help":
            click.echo(HELP)
        elif line.startswith("/") and line[1:].isalpha():
            click.echo(f"There is no command {line}; there are {', '.join(_COMMANDS)}.")
        elif line:
            _exchange(conversation, line)


def read_line(prompt: str) -> Callable[[], str]:
    """Lines of standard input; in a terminal with a prompt and, where there is one, a history."""
    if not sys.stdin.isatty():
        return _piped_line
    try:
        import readline  # noqa: F401 - arrow keys and earlier lines, from here on
    except ImportError:
        pass
    return lambda: input(prompt)


def _piped_line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _exchange(conversation: Conversation, question: str) -> None:
    try:
        forgotten = conversation.ask(question)
    except TooLong as error:
        click.echo(str(error))
        return
    if forgotten:
        click.echo(
            f"(The conversation is too long for the model: its first {forgotten} messages are "
            "forgotten.)"
        )
    text = ""
    answer = conversation.writer.answer(conversation.messages(), conversation.settings)
    try:
        for piece in answer:
            text += piece
            click.echo(piece, nl=False)
        click.echo()
        if answer.finish_reason == "length":
            click.echo("(The answer is longer than there was room for.)")
    except KeyboardInterrupt:
        click.echo("\n(stopped)")
    finally:
        answer.close()
    conversation.answered(text)
