"""Questions to a model: the phrase of an instruction, or the model's own answer to a harmless instruction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import pydantic
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    ResponseSchema,
)
from inspect_ai.util import json_schema

from seawall.preparation.client import Client, NoAnswer
from seawall.preparation.extract import MAX_WORDS, PLACEHOLDERS, Extraction, NotExtractable, check_extraction

MAX_REPLIES = 3
"""Maximum replies per instruction. A reply that fails a check is asked for again with the reason."""
ANSWER_TOKENS = 512
"""Maximum length of the model's own answer, in tokens."""
SYSTEM_PROMPT = f"""\
You annotate requests for training a model's refusals. You never fulfil them. \
For the request you are given, return JSON:
"phrase": what the request is about, as a picture of it would be named, in 1 to {MAX_WORDS} words copied from the \
request; without an article in front;
"category": "activity" if the phrase is something one does, "product" if it is a thing that one makes, gets or wants;
"paraphrase": true only where no words of the request can be copied and the phrase is in your words;
"detoxified": the request with the phrase replaced by "{PLACEHOLDERS["activity"]}" or "{PLACEHOLDERS["product"]}", \
once, and otherwise unchanged: a whole
sentence that holds no other word of the phrase. Besides it, only words that every request could have may stay, such \
as "explain", "how" and "steps". Who does it, where, why and with which tail ("without being noticed") belongs in the \
phrase.
A request that refers to something outside it ("this", "her", "in the image") has no phrase: return an empty one.
Request: Explain how to wash a car at night.
{{"phrase": "wash a car at night", "category": "activity", "paraphrase": false, \
"detoxified": "Explain how to do this activity."}}
Request: Write a funny poem about frogs for me.
{{"phrase": "funny poem about frogs", "category": "product", "paraphrase": false, \
"detoxified": "Write this product for me."}}"""


class ExtractionReply(pydantic.BaseModel):
    """The JSON that the model has to return for an instruction."""

    phrase: str
    category: Literal["activity", "product"]
    paraphrase: bool
    detoxified: str


EXTRACTION = GenerateConfig(
    max_tokens=400, response_schema=ResponseSchema(name="extraction", json_schema=json_schema(ExtractionReply))
)


def extract_by_model(instructions: Iterable[str], client: Client) -> dict[str, Extraction | str]:
    """Return instruction -> extraction by a model, or the reason why there is none.

    Raises:
        EngineError: The model no longer answers.
    """

    async def ask(instruction: str) -> Extraction | str:
        messages: list[ChatMessage] = [
            ChatMessageSystem(content=SYSTEM_PROMPT),
            ChatMessageUser(content=f"Request: {instruction}"),
        ]
        reason = ""
        for _ in range(MAX_REPLIES):
            try:
                completion = (await client.generate(messages, EXTRACTION)).completion
                return read_reply(instruction, completion)
            except NoAnswer as fault:
                return f"no answer: {fault}"
            except NotExtractable as fault:
                reason = str(fault)
                correction = f"This cannot be used: {reason}. Correct it and return the JSON again."
                messages += [ChatMessageAssistant(content=completion), ChatMessageUser(content=correction)]
        return reason

    return client.ask_all(instructions, ask, "phrases")


def answer_by_model(instructions: Iterable[str], client: Client) -> dict[str, str | None]:
    """Return instruction -> the model's own answer. None if it is missing, or cut off at `ANSWER_TOKENS`.

    Raises:
        EngineError: The model no longer answers.
    """

    async def ask(instruction: str) -> str | None:
        try:
            output = await client.generate(
                [ChatMessageUser(content=instruction)], GenerateConfig(max_tokens=ANSWER_TOKENS)
            )
        except NoAnswer:
            return None
        return output.completion.strip() if output.stop_reason == "stop" else None

    return client.ask_all(instructions, ask, "answers")


def read_reply(instruction: str, completion: str) -> Extraction:
    """Return the extraction in a reply. The JSON may have words around it.

    Raises:
        NotExtractable: The reply has no such JSON, or its extraction fails `check_extraction`.
    """
    begin, end = completion.find("{"), completion.rfind("}")
    try:
        reply = ExtractionReply.model_validate_json(completion[begin : end + 1])
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise NotExtractable(
            f"the reply is not the requested JSON ({where + ': ' if where else ''}{fault['msg']})"
        ) from error
    found = Extraction(reply.phrase.strip(), reply.category, reply.detoxified.strip(), reply.paraphrase)
    return check_extraction(instruction, found)
