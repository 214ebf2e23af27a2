"""A kind of model as source, for plugins that tests install: content is the word NOTE and a text."""

NOTE_KIND = """
from dataclasses import dataclass
from perfopt.plugin import InvalidInputError

@dataclass(frozen=True)
class NoteKind:
    kind: str = "note"
    description: str = "a text"
    trainer: None = None

    def load(self, content):
        if content == b"NOTE hang":
            import threading; threading.Event().wait()
        if content == b"NOTE exit":
            import os; os._exit(3)
        if content == b"NOTE raise":
            raise RuntimeError("no ink")
        if not content.startswith(b"NOTE "):
            raise InvalidInputError("It is no note.", remedy="Write NOTE before it.")
        return content.decode().removeprefix("NOTE ")

    def check(self, content):
        return {"text": self.load(content)}
"""


def note(text: str) -> bytes:
    """Returns the content of a model of this kind."""
    return f"NOTE {text}".encode()
