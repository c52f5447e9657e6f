"""Words that refer to something outside the phrase: "this", "her", "the one above", "in the picture".

Such a phrase cannot be shown by a medium, because its meaning is somewhere else.
"""

from __future__ import annotations

import re

_PERSON_LIST = """
aunt baby boss boy boyfriend brother child classmate colleague cousin coworker dad daughter employee employer father
friend girl girlfriend granddad grandfather grandma grandmother guest husband judge kid king lady landlord man manager
mother mom mum neighbor neighbour nephew niece nurse parent partner patient person pilot player politician president
professor queen roommate sibling sister somebody someone son spouse student teacher teenager toddler tenant uncle
victim wife woman worker writer doctor customer client driver actor author singer
"""
_PERSONS = frozenset(_PERSON_LIST.split())
_TRIGGER_LIST = """
this these here hers ours yours theirs ones aforementioned abovementioned he she him herself himself such following
latter former one same above below earlier before previously previous attached given shown seen displayed depicted
mentioned pictured described listed written provided stated discussed two three text passage paragraph excerpt
sentence snippet context conversation prompt input output article document essay table list file code function data
statement thing image images picture pictures photo photos photograph photographs video videos clip clips audio audios
screenshot screenshots diagram diagrams figure figures recording recordings there so thus otherwise other others
another too either neither those mine that it its itself they them their themselves her his
"""
_TRIGGERS = frozenset(_TRIGGER_LIST.split())
"""Words of which each reference has at least one. They make the check fast."""
_ALWAYS = re.compile(
    r"\b(?:this|these|here|hers|ours|yours|theirs|ones|aforementioned|abovementioned|he|she|him|herself|himself|"
    r"such\s+an?|such\s+(?:things?|stuff)|(?:the|these)\s+(?:following|latter|former|ones?)|the\s+same\s+(?:way|thing)|"
    r"(?:as|like|shown|seen|described|depicted|mentioned|given|listed|written|pictured|displayed)\s+(?:above|below|here)|"
    r"(?:the|your|attached)\s+(?:above|below|attached|given|shown|displayed|depicted|aforementioned)\b(?:\s+\w+)?|"
    r"(?:depicted|pictured|mentioned)$|(?:shown|pictured|depicted|displayed)\s+(?:on|in|at|by)|"
    r"(?:mentioned|described|discussed|shown|given|provided|stated)\s+(?:earlier|before|previously)|"
    r"the\s+(?:two|three|previous|earlier)(?=$|\s+(?:apart|of|text|question|answer|message)\b)|"
    r"the\s+(?:text|passage|paragraph|excerpt|sentence|snippet|context|conversation|prompt|input|output)(?!\s+of\b)|"
    r"the\s+(?:article|document|essay|table|list|file|code|function|data|statement|thing)$|"
    r"(?:the|attached|each)\s+(?:image|picture|photo|photograph|video|clip|audio|screenshot|diagram|figure|recording)s?"
    r"(?!\s+of\b|\s+\w+ing\b))\b"
    r"|\b(?:above|below|there|so|thus|otherwise|the\s+same|the\s+others?|(?<!any )(?<!every )(?<!no )(?<!each )one|another|too|either|neither)$"
    r"|\bthere\b(?!\s+(?:is|are|was|were|will|would)\b)"
    r"|\bthose\b(?!\s+(?:who|whose|with|of|that|in\s+need)\b)"
    r"|^\w+\s+(?:mine|his|so)\b|\b(?:like|than|to|with|from|of|for|as)\s+mine$",
    re.IGNORECASE,
)
_SAYING = (
    r"(?:say|claim|pretend|prove|argue|show|ensure|believe|think|know|assume|imply|suggest|insist|deny|admit|demand|"
    r"demonstrate|state|declare|announce|confirm|verify|check|hope|wish|imagine|agree|conclude|feel|hint|see)(?:s|es|ing)?"
)
_THAT = re.compile(
    r"(?:^|\b(?:of|in|on|at|with|to|for|and|or|from|into|about|by|over|under|near|through|like|me|us|you|do|as|than|"
    r"if|whether|when|because|why|how|what|off|out|up|onto)\s)that\b|\bthat$",
    re.IGNORECASE,
)
_VERB_THAT = re.compile(rf"^(?!{_SAYING}\b)[\w-]+\s+that\b", re.IGNORECASE)
_RELATIVE = re.compile(r"\b(?:so|in|now|except)\s+that\b", re.IGNORECASE)
_PRONOUN = re.compile(r"\b(?:it|its|itself|they|them|their|themselves|her|his)\b", re.IGNORECASE)
_BOUNDARY = re.compile(r"\b(?:and|or|then|so|before|after|until|unless|without|while|once)\b", re.IGNORECASE)
_FUNCTION = re.compile(
    r"\b(?:an?|the|my|your|our|some|any|all|every|to|of|in|on|at|for|with|from|into|up|out|off|over|by|and|or|how|be|"
    r"is|are|was|were|not|as|that|who|which|what|if|when|me|you|i|we|us|more|less|very|about|get|make|do|let|have)\b",
    re.IGNORECASE,
)


def find_reference(phrase: str, category: str) -> str | None:
    """Return the first words of a phrase that refer to something outside it, or None.

    A pronoun may refer to a noun of the phrase itself, as in "teach a parrot to clean its cage". The check accepts that
    only where it is clear.

    Args:
        phrase: The phrase. Quoted text in it should be masked.
        category: `activity` or `product`. The first word of an activity is a verb.
    """
    if _TRIGGERS.isdisjoint(re.findall(r"\w+", phrase.lower())):
        return None
    if found := _ALWAYS.search(phrase):
        return found.group()
    clause = _RELATIVE.sub("so as", phrase)
    if _THAT.search(clause) or (category == "activity" and _VERB_THAT.search(clause)):
        return "that"
    for pronoun in _PRONOUN.finditer(phrase):
        if not _has_antecedent(phrase[: pronoun.start()], pronoun.group().lower(), category):
            return pronoun.group()
    return None


def _has_antecedent(before: str, pronoun: str, category: str) -> bool:
    """Return whether the words before a pronoun have a noun that it refers to."""
    verbs = 1 if category == "activity" else 0
    if pronoun in ("her", "his"):
        return any(word.rstrip("s") in _PERSONS or word in _PERSONS for word in re.findall(r"[a-z]+", before.lower()))
    if pronoun in ("it", "they", "them"):
        boundaries = list(_BOUNDARY.finditer(before))
        if not boundaries:
            return False
        before = before[: boundaries[-1].start()]
    return len(re.findall(r"[\w-]+", _FUNCTION.sub(" ", before))) > verbs
