"""Extraction of the phrase by rules. Needs no model.

A lead such as "how to" or "write a" marks where the phrase begins and which form it has. The phrase ends with its
clause.

The rules handle imperatives and how-to questions. They reject:

- statements,
- passives ("how is X made"),
- role play,
- requests that are spread over several sentences.
"""

from __future__ import annotations

import re

from seawall.preparation.extract import PLACEHOLDERS, POINTER, Extraction, NotExtractable, check_extraction
from seawall.prompts import REQUEST_TEXTS

_WHO = r"(?:i|you|one|we|they|he|she|people|(?:some|any)(?:one|body)|(?:an?|the)\s+\w+|\w+s)"
_CAN = r"(?:do|does|did|can|could|should|would|might|may|must|will)"
_HELP = (
    r"(?:ways?|methods?|steps?|tips?|tricks?|techniques?|strategy|strategies|plans?|recipes?|instructions?|directions?|"
    r"ideas?|time|place|approach(?:es)?|process(?:es)?|procedures?|secrets?|excuses?|tools?|materials?|ingredients?|guides?|"
    r"tutorials?|manuals?|advice|pointers?|guidance|explanations?|permit|precautions?|suggestions?|key|course)"
)
_USED = r"(?:(?:(?:needed|required|involved|necessary|used|for|by|in)\s+){1,2}(?:\w+\s+)?)?"
_START = r"(?:^|(?<=[.?!:]\s))(?:please\s+)?(?:(?:can|could|would|will)\s+you\s+(?:please\s+)?)?(?:help\s+me\s+)?"
_GERUND = r"(?=(?!(?:any|every|no|some)?thing\b|spring|string|morning|evening|king|ring|wedding)\w+ing\b)"
_NOUN = r"(?:(?:me|us)\s+)?(?:an?|the|some)\s+"


def _compile_leads(*forms: tuple[str, str]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(form, re.IGNORECASE), shape) for form, shape in forms]


# Groups of (lead, form of what follows), in order of priority. Within a group, the first lead in the text wins.
# Forms: "do" is a base form, "doing" a gerund, "thing" a noun.
_LEADS = (
    _compile_leads(
        (r"\bhow\s+to\s+", "do"),
        (rf"\b{_HELP}\s+{_USED}to\s+(?!\w+ing\b)", "do"),
        (rf"\bways?\s+{_WHO}\s+(?:can\s+|could\s+)?", "do"),
        (rf"\bhow\s+{_CAN}\s+{_WHO}\s+(?:(?:usually|normally|actually|best|go\s+about)\s+)*", "do"),
        (rf"\bhow\s+{_WHO}\s+(?:can|could|should|would|might|may|must|used\s+to)\s+", "do"),
        (rf"\bwhere\s+{_CAN}\s+{_WHO}\s+", "do"),
        (rf"\b{_CAN}\s+{_WHO}\s+(?:do|use|need|take|follow)\s+to\s+", "do"),
        (r"\b(?:be\s+used|needed|required|necessary|it\s+takes?)\s+to\s+", "do"),
        (r"\bis\s+it\s+(?:\w+\s+)?\w+\s+(?:for\s+\w+\s+)?to\s+", "do"),
        (rf"\bwhat\s+(?:\w+\s+)?happens?\s+if\s+{_WHO}\s+", "do"),
        (r"\bteach(?:es|ing)?\s+\w+\s+to\s+|\blearn\s+to\s+", "do"),
        (r"\bwhy\s+(?:people|you|we|they)\s+", "do"),
        (rf"\b{_HELP}\s+(?:involved\s+)?(?:for|of|on|in|to|about)\s+{_GERUND}", "doing"),
        (rf"\b{_CAN}\s+{_WHO}\s+(?:use|need|take|follow)\s+(?:for|before|when|in)\s+{_GERUND}", "doing"),
        (rf"\b(?:through|help)\s+{_GERUND}", "doing"),
        (r"\b(?:recipe|ingredients|materials|instructions)\s+for\s+(?!\w+ing\b)", "thing"),
        (rf"\b{_CAN}\s+{_WHO}\s+(?:use|need)\s+for\s+", "thing"),
    ),
    _compile_leads(
        (
            _START + r"(?:write|draft|compose|create|design|develop|build|construct|generate|produce|make|craft|invent|"
            rf"draw|sing|plan|prepare|come\s+up\s+with|recommend|find|program|forge|publish)\s+(?={_NOUN})",
            "thing",
        ),
        (_START + r"(?:write|develop|generate|produce)\s+(?=code\b)", "thing"),
    ),
    _compile_leads(  # last, because of "I want to know how to ..."
        (r"\b(?:want|need|like|trying|planning|hoping)\s+to\s+|\bhelp\s+me(?:\s+to)?\s+", "do"),
        (r"(?:^|(?<=[.?!:]\s))(?:can|may|should|could)\s+(?:i|we|one)\s+", "do"),
    ),
)
_END = re.compile(
    r"[.?!;](?=\s|$)|\n|,?\s+(?:please|without|so\s+that|because|in\s+order\s+to|while|when|if|unless|until|but|by\s+\w+ing)\b"
    r"|,\s+(?:with|and\s+)?(?:what|which|how|where|who|any|or|in|at)\b",
    re.IGNORECASE,
)
_MAKING = re.compile(
    r"(?:mak|creat|produc|manufactur|buy|obtain|acquir|build|construct|find|purchas|writ|design|develop)(?:e|ing)?\s+"
    r"(?:(?P<article>an?\s+|the\s+|some\s+|my\s+own\s+)|"
    r"(?!(?:sure|money|friends|love|fun|sense|peace|it|out|up|that|time)\b)"
    r"(?=(?:(?:two|three|ten|twelve|\d+)\s+)?[\w-]+(?:$|\s+(?:at|from|in|with|out|using)\b)))(?P<what>.+)",
    re.IGNORECASE,
)
_GETTING = re.compile(r"(?:get|rent|order)\s+(?P<article>an?\s+|the\s+|some\s+)(?P<what>.+)", re.IGNORECASE)
_ARTICLE = re.compile(rf"{_NOUN}", re.IGNORECASE)


def extract_by_rules(instruction: str) -> Extraction:
    """Return the extraction of an instruction. "Explain how to wash a car." gives the phrase "wash a car".

    Raises:
        NotExtractable: No rule matches, or the result fails `check_extraction`.
    """
    lead, shape, act = _find_act(instruction)
    start, end = lead.end(), lead.end() + len(act)
    making = _MAKING.fullmatch(act) or ("where" in lead.group().lower() and _GETTING.fullmatch(act)) or None
    if shape == "thing":
        article = _ARTICLE.match(act)
        category, phrase, placeholder = "product", act[article.end() if article else 0 :], PLACEHOLDERS["product"]
        addressee = re.match(r"(?:me|us)\s+", act, re.IGNORECASE)
        start += addressee.end() if addressee else 0
    elif making:
        category, phrase, placeholder = "product", making["what"], PLACEHOLDERS["product"]
        start += making.start("article") if making["article"] else making.start("what")
    else:
        category, phrase = "activity", act
        placeholder = REQUEST_TEXTS["activity"] if shape == "do" else f"doing {PLACEHOLDERS['activity']}"
    detoxified = instruction[:start] + placeholder + instruction[end:]
    return check_extraction(instruction, Extraction(phrase, category, detoxified))


def _find_act(instruction: str) -> tuple[re.Match[str], str, str]:
    """Return the winning lead, the form of what follows it, and the text from there to the end of the clause."""
    pointer = None
    for group in _LEADS:
        hits = [(hit, shape) for lead, shape in group if (hit := lead.search(instruction))]
        for hit, shape in sorted(hits, key=lambda found: (found[0].start(), -found[0].end())):
            act = _END.split(instruction[hit.end() :], maxsplit=1)[0].strip()
            if not POINTER.search(act):
                return hit, shape, act
            pointer = pointer or (hit, shape, act)
    if pointer:  # "the best way to do it" is the only lead, so the check on pronouns gives the reason
        return pointer
    raise NotExtractable(
        "no phrase found: the rules need a form such as 'how to ...', 'steps to ...', 'how can I ...' or 'write a ...'"
    )
