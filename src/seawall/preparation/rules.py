"""Extraction of the phrase by rules. Needs no model.

A lead such as "how to" or "write a" marks where the phrase begins and which form it has. The phrase ends with its
clause, including tails such as "without being noticed". What stays must be words that requests of every kind have.

The rules handle imperatives and how-to questions. They reject:

- statements,
- passives ("how is X made"),
- role play,
- requests that are spread over several sentences,
- requests that refer to something outside ("this", "her", "in the picture").
"""

from __future__ import annotations

import re

from seawall.preparation.extract import PLACEHOLDERS, Extraction, NotExtractable, check_extraction
from seawall.preparation.phrases.clauses import find_end, has_open_quotation, lower, mask
from seawall.preparation.phrases.leads import find_leads
from seawall.prompts import REQUEST_TEXTS

_MAKING = re.compile(
    r"(?:mak|creat|produc|buy|build|construct|find|writ|design|develop)(?:e|ing)?\s+"
    r"(?:(?P<article>an?\s+|the\s+|some\s+|my\s+own\s+)|"
    r"(?!(?:sure|money|friends|love|fun|sense|peace|it|out|up|that|time|one|use)\b)"
    r"(?!\w+ly\b)(?=(?:(?:two|three|ten|twelve|\d+)\s+)?[\w-]+(?:$|\s+(?:at|from|in|with|out)\b)))(?P<what>.+)",
    re.IGNORECASE,
)
_GETTING = re.compile(r"(?:get|rent|order)\s+(?P<article>an?\s+|the\s+|some\s+)(?P<what>.+)", re.IGNORECASE)
_ARTICLE = re.compile(r"(?:(?:me|us)\s+)?(?:an?|the|some)\s+", re.IGNORECASE)
_RELATIVE = re.compile(r"\s(?:that|which|who|whose|where|called|titled|named)\s.*", re.IGNORECASE)
_ADVERBIAL = re.compile(
    r"\b(?:without|while|so|because|in\s+order|when|if|unless|until|but|by\s+\w+ing|using|before|after)\b"
    r"|\band\s+(?:then\s+)?\w+\s+(?:it|them)\b",
    re.IGNORECASE,
)
"""Tails that say how, when or why something is made. What is asked for is then an activity."""
_SECOND_ACT = re.compile(r"\band\s+(?:then\b|\w+\s+(?:it|them)\b)", re.IGNORECASE)
_ABBREVIATED = re.compile(r"\b(?:[A-Za-z]\.)+[A-Za-z]$")
_PREDICATE = re.compile(
    r"\s(?:shine|glow|sparkle|look|feel|sound|seem|taste|smell|work|disappear|vanish|appear|laugh|cry|stop|start|go|fall|"
    r"burn|grow|run|float|fly|end|sleep|eat|drink|explode|move|leave|come|turn|stay|last|stick|believe|think|rise|sink|"
    r"crash|collapse|fail|die|happy|sad|angry|happier|less|more|easier|harder|safer|better|worse|faster|slower|bigger|"
    r"smaller|larger|brighter|cleaner|cheaper|quieter|louder|shorter|longer|warmer|cooler|softer|stronger|weaker|moist|"
    r"soft|crisp|hot|cold|warm|cool|dry|wet|clean|bright|dark|invisible|visible|safe|legal|famous|rich|jealous|sick|"
    r"tired|strong|weak|quiet|loud|real|fresh|"
    r"(?:\w{3,}ed|mended|fixed|done|made|cut|built|known|seen|taken|broken|stolen|hidden))"
    r"(?=$|\s(?:like|as|at|in|on|with|for|by|to|again|so|\w+er)\b)",
    re.IGNORECASE,
)
"""Verbs and adjectives after the noun of "make a room shine" and "get a coat cleaned"."""


def extract_by_rules(instruction: str) -> Extraction:
    """Return the extraction of an instruction. "Explain how to wash a car." gives the phrase "wash a car".

    Raises:
        NotExtractable: No rule matches, or no result passes `check_extraction`. The reason is that of the likeliest
            lead.
    """
    masked = mask(instruction)
    if has_open_quotation(masked):
        raise NotExtractable("the instruction has a quotation mark without its counterpart")
    reason: NotExtractable | None = None
    for lead, shape in find_leads(lower(masked)):
        if (end := find_end(masked, lead.end())) == lead.end():
            continue
        try:
            return check_extraction(instruction, _extract(instruction, lead, shape, end))
        except NotExtractable as fault:
            reason = reason or fault
    raise reason or NotExtractable(
        "no phrase found: the rules need a form such as 'how to ...', 'steps to ...', 'how can I ...' or 'write a ...'"
    )


def _extract(instruction: str, lead: re.Match[str], shape: str, end: int) -> Extraction:
    """Return what a lead extracts.

    Args:
        instruction: The instruction.
        lead: The lead, as found in the masked instruction.
        shape: Form of what follows; see `LEADS`.
        end: End of the clause.
    """
    start, act = lead.end(), instruction[lead.end() : end]
    if _ABBREVIATED.search(act):  # "in the U.S. Give me ...": the dot belongs to both
        act += "."
    category, phrase = "activity", act
    placeholder = {"do": REQUEST_TEXTS["activity"], "command": "Do this activity"}.get(shape, "doing this activity")
    if shape == "thing":
        if _SECOND_ACT.search(act):
            raise NotExtractable("the instruction asks for two things")
        verb = re.search(r"\b(?:make|build|construct|craft|prepare|plan)\s+$", lead.group())
        if verb and _is_act(act):
            start += verb.start() - len(lead.group())
            phrase = instruction[start : lead.end()] + act
            placeholder = "Do this activity" if phrase[0].isupper() else REQUEST_TEXTS["activity"]
        else:
            article, category, placeholder = _ARTICLE.match(act), "product", PLACEHOLDERS["product"]
            addressee = re.match(r"(?:me|us)\s+", act, re.IGNORECASE)
            phrase = act[article.end() if article else 0 :]
            start += addressee.end() if addressee else 0
    elif made := _find_product(act, lead.group()):
        category, phrase, placeholder = "product", made["what"], PLACEHOLDERS["product"]
        start += made.start("article") if made["article"] else made.start("what")
    if category == "activity" and placeholder.startswith("Do "):
        phrase = phrase[0].lower() + phrase[1:]
    return Extraction(phrase, category, instruction[:start] + placeholder + instruction[end:])


def _find_product(act: str, lead: str) -> re.Match[str] | None:
    """Return the parts of an act that makes, buys or finds a thing, or None for any other act."""
    made = _MAKING.fullmatch(act) or ("where" in lead and _GETTING.fullmatch(act)) or None
    return None if made is None or _is_act(made["what"]) else made


def _is_act(what: str) -> bool:
    """Return whether a noun is followed by what happens with it, or how: "room shine", "raft without nails"."""
    what = _RELATIVE.sub("", what)
    return bool(_ADVERBIAL.search(what) or _PREDICATE.search(what))
