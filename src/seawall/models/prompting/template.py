"""A model's chat template: examples as text, and checks that nothing of an example is lost in it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from seawall.errors import ModelError
from seawall.models.families import Family
from seawall.models.prompting.example import BLANK, Example
from seawall.reasoning import find_begun, split_reply

QUESTION, ANSWER, SYSTEM = "Which kite is the longest one?", "The blue kite is longest.", "Name the colours first."
"""The conversation that templates are checked with."""
PYTHON = re.compile(r"""\{['"]type['"]:""")
"""What a template for plain texts writes for content of several parts."""

AS_TEXT = "as text"
"""How some templates want a system prompt: as a plain text, not as a list of parts."""
Messages = list[dict[str, Any]]


class Template:
    """The chat template of a processor.

    Args:
        processor: The model's processor, with a tokenizer and a chat template.
        family: The model's row in the table of families.
    """

    def __init__(self, processor: Any, family: Family) -> None:
        self.processor, self.family = processor, family
        self._tokenizer: Any = getattr(processor, "tokenizer", None)

    def make_messages(self, example: Example) -> Messages:
        """Return the messages of an example, without its answer."""
        question, media = example.question, [{"type": self.family.modality}] * (example.medium is not None)
        if media and self.family.placeholder:
            question, media = self.family.placeholder + question, []
        messages = [{"role": "user", "content": [*media, {"type": "text", "text": question}]}]
        if example.system:
            messages.insert(0, self._make_system(example.system, self._system_form == AS_TEXT))
        return messages

    def render_prompt(self, example: Example) -> str:
        """Return the text of a prompt, up to where the model's reply begins.

        Raises:
            ModelError: The template fails, or has no place for the system prompt.
        """
        if example.system:
            self.check_system()
        return self._apply(self.make_messages(example), add_generation_prompt=True)

    def render(self, example: Example) -> tuple[str, str]:
        """Return the texts of a prompt and of its answer, as the template writes them in a conversation.

        Some templates begin the model's reasoning in their prompts. If they leave it out of a conversation's history,
        the prompt ends before it, so that the answer does not become reasoning.

        Raises:
            ModelError: The template does not write answers, changes them, or writes them elsewhere.
        """
        self.check_answers()
        return self._render(example)

    def _render(self, example: Example) -> tuple[str, str]:
        prompt = self.render_prompt(example)
        reply = {"role": "assistant", "content": [{"type": "text", "text": example.answer}]}
        conversation = self._apply([*self.make_messages(example), reply])
        begun = find_begun(prompt)
        if conversation.startswith(prompt):
            return prompt, conversation[len(prompt) :]
        if begun and conversation.startswith(head := prompt[: begun.start]):
            return head if begun.unfinished else prompt, conversation[len(head) :]
        if conversation.startswith(head := prompt.rstrip()):
            return prompt, conversation[len(head) :].lstrip()
        raise ModelError(
            f"The chat template of the model (type {self.family.model_type!r}) does not write an answer where its prompt "
            "ends, so no answer can be trained or scored. Put a template with the assistant's turn into "
            "chat_template.jinja of the model's folder."
        )

    @functools.cached_property
    def begins_reasoning(self) -> bool:
        """Whether the model's reply begins inside its reasoning, because the prompt opens it."""
        begun = find_begun(self.render_prompt(Example(question=QUESTION)))
        return begun is not None and begun.unfinished

    def list_options(self, prompt: str) -> dict[str, bool]:
        """Return the arguments with which a prompt is tokenized, so that a template's own start token stays the only one.

        The ids are those of transformers' `apply_chat_template(tokenize=True)`, which has the same rule.
        """
        start = getattr(self._tokenizer, "bos_token", None)
        return {"add_special_tokens": False} if self._adds_tokens and start and prompt.startswith(start) else {}

    def check(self) -> None:
        """Check that a question and the mark of its medium are in the prompt.

        Raises:
            ModelError: Something is lost.
        """
        plain, shown = (self.render_prompt(Example(question=QUESTION, medium=medium)) for medium in (None, BLANK))
        if QUESTION not in plain or QUESTION not in shown or PYTHON.search(shown):
            raise self._refuse("loses the question, or takes plain text only")
        if plain == shown:
            raise self._refuse(f"writes no mark for the {self.family.modality}")

    def check_system(self) -> None:
        """Check that a system prompt is in the prompt.

        Raises:
            ModelError: The template has no system role, or drops the text.
        """
        if (fault := self._system_form) not in ("", AS_TEXT):
            raise ModelError(
                f"The chat template of the model (type {self.family.model_type!r}) {fault}, so a system prompt has no "
                "effect. Leave it out (an empty --system-prompt also removes that of a benchmark), or put a template with "
                "a system role into chat_template.jinja of the model's folder."
            )

    def check_answers(self) -> None:
        """Check that an answer stands behind its prompt, and not inside reasoning that the prompt has opened.

        Raises:
            ModelError: It does not.
        """
        if not self._keeps_answers:
            raise ModelError(
                f"The chat template of the model (type {self.family.model_type!r}) changes answers or writes them inside "
                "the reasoning, so no answer can be trained or scored. Put a corrected template into chat_template.jinja "
                "of the model's folder."
            )

    @functools.cached_property
    def _keeps_answers(self) -> bool:
        prompt, answer = self._render(Example(question=QUESTION, answer=ANSWER))
        begun = find_begun(prompt)
        return split_reply(answer, begun=bool(begun and begun.unfinished)).answer.strip().startswith(ANSWER)

    @functools.cached_property
    def _system_form(self) -> str:
        """How the template takes a system prompt: "" as a list of parts, `AS_TEXT`, or what is wrong with it."""
        faults = []
        for form in ("", AS_TEXT):
            messages = [self._make_system(SYSTEM, bool(form)), *self.make_messages(Example(question=QUESTION))]
            try:
                prompt = self._apply(messages, add_generation_prompt=True)
            except ModelError as error:
                faults.append(f"refuses a system prompt ({error.__cause__})")
                continue
            if SYSTEM in prompt and QUESTION in prompt and not PYTHON.search(prompt):
                return form
            faults.append("drops the system prompt")
        return faults[0]

    def _make_system(self, text: str, as_text: bool) -> dict[str, Any]:
        return {"role": "system", "content": text if as_text else [{"type": "text", "text": text}]}

    @functools.cached_property
    def _adds_tokens(self) -> bool:
        """Whether the tokenizer adds special tokens to a text."""
        return bool(self._tokenizer is not None and len(self._tokenizer("")["input_ids"]))

    def _apply(self, messages: Messages, **settings: Any) -> str:
        with self._explain_errors():
            return str(self.processor.apply_chat_template(messages, tokenize=False, **settings))

    def _refuse(self, fault: str) -> ModelError:
        return ModelError(
            f"The chat template of the model (type {self.family.model_type!r}) {fault}. Seawall needs the template of the "
            "multimodal model, which takes content as a list of parts: put it into chat_template.jinja of the model's folder."
        )

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        from jinja2 import TemplateError

        try:
            yield
        except (TemplateError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(
                f"The chat template of the model (type {self.family.model_type!r}) fails: {error}. Put the template of the "
                "multimodal model into chat_template.jinja of the model's folder."
            ) from error
