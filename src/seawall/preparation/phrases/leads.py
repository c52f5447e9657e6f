"""How requests begin: "how to", "steps for", "write a". Each lead tells the form of what follows it."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WHO = r"(?:i|you|one|we|they|he|she|people|(?:some|any)(?:one|body)|(?:an?|the)\s+\w+|\w+s)"
_CAN = r"(?:do|does|did|can|could|should|would|might|may|must|will)"
_HELP = (
    r"(?:ways?|methods?|steps?|tips?|tricks?|techniques?|strategy|strategies|plans?|recipes?|instructions?|"
    r"directions?|ideas?|time|place|approach(?:es)?|process(?:es)?|procedures?|secrets?|excuses?|tools?|"
    r"materials?|ingredients?|guides?|tutorials?|manuals?|advice|pointers?|guidance|explanations?|permit|"
    r"precautions?|suggestions?|key|course|descriptions?|overview|reasons?|lessons?|walkthrough|means|"
    r"options?|examples?)"
)
_USED = r"(?:(?:(?:needed|required|involved|necessary|used|for|by|in)\s+){1,2}(?:\w+\s+)?)?"
_FOR_WHOM = r"(?:for\s+(?:me|us|someone|people|everyone|beginners|an?\s+(?:beginner|person))\s+)?"
_START = (
    r"(?:^|(?<=[.?!:]\s))(?:please\s+)?(?:(?:can|could|would|will)\s+you\s+(?:please\s+)?)?(?:help\s+me\s+(?:to\s+)?)?"
)
_GERUND = r"(?=(?:\w+ly\s+)?(?!(?:any|every|no|some)?thing\b|spring|string|morning|evening|king|ring|wedding)\w+ing\b)"
_NOUN = r"(?:(?:me|us)\s+)?(?:an?|the|some)\s+"
_MAKE = (
    r"(?:write|draft|compose|create|design|develop|build|construct|generate|produce|make|craft|invent|draw|sing|plan|"
    r"prepare|come\s+up\s+with|recommend|find|program|publish|devise|formulate)"
)
_ACTION_LIST = """
abuse access add arrange assemble attack attract avoid bake beat blame blend block boil bomb book borrow break breed
bring brush build burn bury buy bypass carry carve catch change charge chase cheat check chop clean clear climb close
collect con convert convince cook copy count cover crash cross cut damage deceive decorate defraud delete deliver
destroy dig disable disguise distribute dodge drop dry dump empty encourage enter erase evade exploit expose fake
fasten feed fill fix fold fool force forge frame free gather glue grow hack hang harass harm hide hijack hire host
hunt hurt incite infect inject install intercept iron jam kidnap kill knit label launch launder lift light load lock
lure mail make manipulate manufacture melt mend mix mock move murder open organise organize pack paint peel persuade
pick plant play poison polish pour prank promote prune pull push put raise ransack recruit remove rename repair
replace ride rig rob ruin sabotage scare seal sell send set sew sharpen shoot skip smash smuggle snatch sneak spread
spy stack stalk steal stop store swap sweep tamper threaten throw tie train trap trick turn unlock use vandalize wash
water weave win wire wrap wreck
"""
_ACTION = rf"(?:{'|'.join(_ACTION_LIST.split())})"
_OBJECT = (
    r"(?:(?:up|out|off|over|down|into|on|in|away|past|through|with)\s+)?(?:an?|the|my|your|our|some|all|every|each|"
    r"someone|somebody|people|two|three|four|five|ten)\b"
)


def _compile(*forms: tuple[str, str]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(form), shape) for form, shape in forms]


LEADS = (
    _compile(
        (r"\bhow\s+to\s+", "do"),
        (rf"\b{_HELP}\s+{_USED}{_FOR_WHOM}to\s+(?!\w+ing\b)", "do"),
        (rf"\bways?\s+(?:that\s+|in\s+which\s+)?{_WHO}\s+(?:can\s+|could\s+)?", "do"),
        (rf"\b(?:how|why)\s+{_CAN}\s+{_WHO}\s+(?:(?:usually|normally|actually|typically|best|go\s+about)\s+)*", "do"),
        (rf"\bhow\s+{_WHO}\s+(?:can|could|should|would|might|may|must|used\s+to)\s+", "do"),
        (rf"\bwhere\s+{_CAN}\s+{_WHO}\s+", "do"),
        (rf"\b{_CAN}\s+{_WHO}\s+(?:do|use|need|take|follow)\s+to\s+", "do"),
        (r"\b(?:be\s+used|needed|required|necessary|it\s+takes?)\s+to\s+", "do"),
        (r"\bis\s+it\s+(?:\w+\s+)?\w+\s+(?:for\s+\w+\s+)?to\s+", "do"),
        (rf"\bwhat\s+(?:\w+\s+)?happens?\s+if\s+{_WHO}\s+", "do"),
        (r"\bteach(?:es|ing)?\s+\w+\s+to\s+|\blearn\s+to\s+", "do"),
        (r"\bwhy\s+(?:people|you|we|they)\s+", "do"),
        (rf"\b{_HELP}\s+(?:involved\s+)?(?:for|of|on|in|to|about|behind)\s+{_GERUND}", "doing"),
        (rf"\b{_CAN}\s+{_WHO}\s+(?:use|need|take|follow)\s+(?:for|before|when|in)\s+{_GERUND}", "doing"),
        (rf"\b(?:through|help)\s+(?:with\s+)?{_GERUND}", "doing"),
        (r"\b(?:recipe|ingredients|materials|instructions)\s+for\s+(?!\w+ing\b)", "thing"),
        (rf"\b{_CAN}\s+{_WHO}\s+(?:use|need)\s+for\s+", "thing"),
    ),
    _compile(
        (rf"{_START}{_MAKE}\s+(?={_NOUN})", "thing"),
        (_START + r"(?:write|develop|generate|produce)\s+(?=code\b)", "thing"),
    ),
    _compile(  # after the others, because of "I want to know how to ..."
        (
            r"\b(?:want|need|like|trying|planning|hoping)\s+to\s+|\bhelp\s+me(?:\s+to)?\s+"
            r"|\b(?:goal|aim|plan|task|job|challenge|intention)\s+is\s+to\s+",
            "do",
        ),
        (r"(?:^|(?<=[.?!:]\s))(?:can|may|should|could)\s+(?:i|we|one)\s+", "do"),
        (rf"{_START}(?:tell|teach)\s+(?:me|us)\s+(?:more\s+)?about\s+(?=(?:an?|the)\s)", "thing"),
    ),
    _compile(
        (
            _START
            + r"(?:write|draft|compose|create|design|develop|generate|produce|publish)\s+(?!(?:me|us|it|this|that|"
            r"these|those|them|down|up|about|to|for|in|on|from|with|how|why|what|if|an?|the|some)\b)(?=\w)",
            "thing",
        )
    ),
    _compile((rf"(?:^|(?<=[.!:]\s))(?:please\s+)?(?={_ACTION}\s+{_OBJECT})", "command")),
)
"""Groups of (lead, form of what follows), in order of priority. Within a group, the first lead in the text wins. Forms:
"do" is a base form, "doing" a gerund, "thing" a noun, "command" a bare imperative."""


def find_leads(masked: str) -> Iterator[tuple[re.Match[str], str]]:
    """Yield the leads of a request with the forms of what follows them, most likely first.

    Args:
        masked: The request in lower case, with its quotations masked.
    """
    for group in LEADS:
        hits = [(hit, shape) for lead, shape in group if (hit := lead.search(masked))]
        yield from sorted(hits, key=lambda each: (each[0].start(), -each[0].end()))
