"""The words that may stay in a detoxified instruction.

A detoxified instruction must not tell harmful from harmless requests: a model would learn to refuse its words instead
of what the medium shows. So it consists of the placeholder and of words that requests of every kind have in common,
such as "explain", "how" and "steps". Any other word must be part of the phrase.
"""

from __future__ import annotations

import re

_LIST = """
a an the some any few several more most very really also just only and or of to in on at for with from by about into
as up out than then there least other another each all through down

i me my you your we us our one someone somebody anyone anybody people person everyone beginner beginners user users
reader readers individual individuals myself yourself it its

what which who how why where when whether if do does did doing done can could should would might may must will shall
is are was were be been am being have has had let lets get go

please kindly thanks thank hi hello hey ok okay fine possible normal easy hard difficult allowed able ready sure right

explain describe give provide write create make making made develop outline draft devise design generate produce
prepare compose publish show teach teaching tell telling demonstrate list name share suggest recommend offer detail
identify present walk talk guide help helps instruct inform formulate come find finding build building construct buy
buying creating writing designing developing producing constructing summarize summarise discuss answer explaining
describing showing showcasing use used using need needed needs want wants like love try trying plan planning hope
hoping look looking wonder wondering know learn learning understand understanding figure follow take takes taking
taken start include including involve involved involves require required requires necessary happen happens shows
teaches explains describes demonstrates details outlines gives contains containing covers covering keep see think
consider put work works offers walks guides compile illustrate curious interested wish order craft crafting invent
draw drawing sing

way ways method methods step steps tip tips trick tricks technique techniques strategy strategies plans idea ideas
approach approaches process processes procedure procedures instruction instructions direction directions guidance
tutorial tutorials manual manuals recipe recipes advice pointer pointers suggestion suggestions explanation
explanations description descriptions summary overview example examples information info detailed answers question
questions request lists article articles blog post posts video videos script essay document lesson course book
handbook instructable walkthrough thing things something anything tool tools material materials ingredient ingredients
item items supplies equipment object objects household kind kinds type types sort sorts goal aim task challenge job
time times place places minutes hours days option options means key excuse excuses part parts basics purpose reason
reasons stages resources

best better good great easiest fastest quickest simplest simple quick fast cheapest cheap common effective efficient
useful practical basic thorough comprehensive complete full specific clear short brief long exact exactly precise
concise creative different various main important first next last new general typical proper correct favorite
favourite perfect ideal usual usually normally actually typically generally possibly ever much many enough easily well
together

two three four five six seven eight nine ten dozen
"""
_WORDS = frozenset(_LIST.split())
_WORD = re.compile(r"[^\W_]+(?:['\u2019]\w+)?")
_CLITIC = re.compile(r"['\u2019](?:s|d|m|re|ve|ll)$")
_FREE_THAT = re.compile(
    r"\bthat\s+(?=(?:can|could|would|might|may|will|i|you|we|one|people|someone|anyone|helps?|teach(?:es)?|shows?|"
    r"explains?|describes?|details|demonstrates?|gives?|outlines|lets)\b)"
)
_FREE_IT = re.compile(
    r"\b(?:do|does|is|was|would|will|can|could|did|if|make|making|doing|about|find|keep)\s+it\b"
    r"|\bit\s+(?=takes?\b|is\b|possible\b)"
)


def find_telling_words(rest: str) -> list[str]:
    """Return the words that only some requests have, sorted.

    Args:
        rest: A detoxified instruction without its placeholder.
    """
    text = _FREE_THAT.sub("", rest.lower())
    words = {_CLITIC.sub("", word) for word in _WORD.findall(text)}
    if "it" in words and "it" in _WORD.findall(_FREE_IT.sub("", text)):
        return ["it"]  # refers to something that only the context has
    return sorted(word for word in words if word not in _WORDS and not word.isdigit())


def is_frame_word(word: str) -> bool:
    """Return whether requests of every kind have a word."""
    return _CLITIC.sub("", word.lower()) in _WORDS
