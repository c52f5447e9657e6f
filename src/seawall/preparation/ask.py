"""What a model is asked for: the phrase of an instruction, and its own answer to a harmless one (`client` does the asking)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import pydantic
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    ResponseSchema,
)
from inspect_ai.util import json_schema

from seawall.preparation.client import Client, Unanswered
from seawall.preparation.extract import MAX_WORDS, PLACEHOLDERS, Extraction, NotExtractable, check_extraction

TRIES = 3
"""How often an instruction is asked about, where the answers fail the checks."""
ANSWER_TOKENS = 512
"""The longest answer of its own that a model gives."""
SYSTEM = f"""You annotate requests for training a model's refusals. You never fulfil them. For the request you are given, return JSON:
"phrase": what the request is about, as a picture of it would be named, in 1 to {MAX_WORDS} words copied from the request; without an article in front;
"category": "activity" if the phrase is something one does, "product" if it is a thing that one makes, gets or wants;
"paraphrase": true only where no words of the request can be copied and the phrase is in your words;
"detoxified": the request with the phrase replaced by "{PLACEHOLDERS["activity"]}" or "{PLACEHOLDERS["product"]}", once, and otherwise unchanged: a whole
sentence that holds no other word of the phrase.
Request: Explain how to wash a car at night.
{{"phrase": "wash a car at night", "category": "activity", "paraphrase": false, "detoxified": "Explain how to do this activity."}}
Request: Write a funny poem about frogs for me.
{{"phrase": "funny poem about frogs", "category": "product", "paraphrase": false, "detoxified": "Write this product for me."}}"""


class Answer(pydantic.BaseModel):
    """What the model is asked to return for an instruction."""

    phrase: str
    category: Literal["activity", "product"]
    paraphrase: bool
    detoxified: str


EXTRACTION = GenerateConfig(
    max_tokens=400, response_schema=ResponseSchema(name="extraction", json_schema=json_schema(Answer))
)


def extract_by_model(instructions: Iterable[str], client: Client) -> dict[str, Extraction | str]:
    """Return, for each instruction, what a model extracted, or the reason why nothing could be.

    An answer that fails the checks is asked for again with the reason.

    Raises:
        EngineError: The model does not answer any more.
    """

    async def ask(instruction: str) -> Extraction | str:
        messages = [ChatMessageSystem(content=SYSTEM), ChatMessageUser(content=f"Request: {instruction}")]
        reason = ""
        for _ in range(TRIES):
            try:
                completion = (await client.generate(messages, EXTRACTION)).completion
                return read_answer(instruction, completion)
            except Unanswered as fault:
                return f"no answer: {fault}"
            except NotExtractable as fault:
                reason = str(fault)
                again = f"This cannot be used: {reason}. Return the JSON again, mended."
                messages += [ChatMessageAssistant(content=completion), ChatMessageUser(content=again)]
        return reason

    return client.ask_all(instructions, ask, "phrases")


def answer_by_model(instructions: Iterable[str], client: Client) -> dict[str, str | None]:
    """Return, for each instruction, a model's own answer; None where it is empty, cut off at `ANSWER_TOKENS`, or did not come.

    Raises:
        EngineError: The model does not answer any more.
    """

    async def ask(instruction: str) -> str | None:
        try:
            output = await client.generate(
                [ChatMessageUser(content=instruction)], GenerateConfig(max_tokens=ANSWER_TOKENS)
            )
        except Unanswered:
            return None
        return output.completion.strip() if output.stop_reason == "stop" else None

    return client.ask_all(instructions, ask, "answers")


def read_answer(instruction: str, completion: str) -> Extraction:
    """Return the extraction that an answer holds, with or without words around the JSON.

    Raises:
        NotExtractable: It holds none, or one that `check_extraction` turns away.
    """
    begin, end = completion.find("{"), completion.rfind("}")
    try:
        answer = Answer.model_validate_json(completion[begin : end + 1])
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise NotExtractable(
            f"the answer is not the JSON asked for ({where + ': ' if where else ''}{fault['msg']})"
        ) from error
    found = Extraction(answer.phrase.strip(), answer.category, answer.detoxified.strip(), answer.paraphrase)
    return check_extraction(instruction, found)
