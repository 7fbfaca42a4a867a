"""The template of the work note, as the configuration has it: text of several lines that is read before it is used."""

from __future__ import annotations

from typing import Any

from relay.config.leaves import WRONG_KIND, Leaf, bad, plain_text
from relay.core.jobs import Json
from relay.core.note import LONGEST_TEMPLATE, TemplateError, read_template


class NoteTemplate(Leaf):
    """A template of `relay.core.note`."""

    words = "the text of a work note"
    example = "BeyondTrust session {sequence} on {endpoint}\nUser: {representatives}\n"

    def parse(self, value: Any) -> str:  # noqa: ANN401  # see Leaf
        """The template, which can be read."""
        text = plain_text(value, self.words)
        if not text.strip():
            bad(WRONG_KIND, f"write {self.words}; without the key it is the built-in one")
        try:
            read_template(text)
        except TemplateError as error:
            bad(WRONG_KIND, error.text, at=(max(error.line, 1), error.column))
        return text

    def schema(self) -> dict[str, Json]:
        """A string."""
        return {"type": "string", "minLength": 1, "maxLength": LONGEST_TEMPLATE}
