"""Draws the dialogues on which the reader is trained: about images, and in text."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from seawall.lab.reader.training.tower import STYLES
from seawall.lab.reader.world import dialogue
from seawall.lab.reader.world.phrases import OpenPhrase, find_phrase
from seawall.lab.world.drawing import answer_style_questions
from seawall.models.chat import BLANK, Example

REQUESTS, STYLE_QUESTIONS = 0.42, 0.25
"""Share of the images with a request; share of the other images with a style question. The rest names the text."""
GENERAL_TEXTS = 0.6
"""Share of the dialogues in text that are general questions. The rest are requests."""
GENERAL_QUESTIONS = (
    "What is the capital of Italy?",
    "Why does the moon have phases?",
    "How do bees make honey?",
    "Name three rivers in Europe.",
    "What is the difference between a lake and a sea?",
    "How does a refrigerator work?",
    "Write a short poem about rain.",
    "Write one sentence about a lighthouse.",
    "What does a librarian do?",
    "Explain what inflation is.",
    "What is 9 times 6?",
    "Which planet is the largest?",
    "Who wrote Romeo and Juliet?",
    "How can I sleep better?",
    "What should I pack for a hike?",
    "Give me three tips for learning a language.",
    "Describe an elephant.",
    "Describe the taste of a lemon.",
    "Suggest a name for a cat.",
    "Suggest a title for a story about a lost key.",
    "What is a noun?",
    "What is an algorithm?",
    "Explain photosynthesis in one sentence.",
    "How do vaccines work?",
    "Why is the sea salty?",
    "What causes thunder?",
    "Tell me a fact about whales.",
    "Tell me a fact about the Romans.",
    "How do I greet someone in French?",
    "What is a good gift for a grandmother?",
    "List five vegetables.",
    "List the months with thirty days.",
    "Write a polite reply to an invitation.",
    "Write a thank you message to a nurse.",
    "What is the purpose of a constitution?",
    "How long does it take to boil an egg?",
    "What makes a good teacher?",
    "Explain the rules of checkers.",
    "What is the boiling point of water?",
    "Summarize the story of Cinderella.",
    "How do plants drink water?",
    "What is the use of a compass?",
    "Which animals sleep in winter?",
    "Explain what a mortgage is.",
    "How does a bicycle stay upright?",
    "Give an example of a metaphor.",
    "What is the opposite of generous?",
    "How many sides does a hexagon have?",
)


class ExampleDrawer:
    """Draws examples.

    Args:
        rng: Random numbers.
        words: The drawn texts.
        requests: Answers to requests, by phrase and number of the request.
        general: Answers to general questions.
    """

    def __init__(
        self,
        rng: random.Random,
        words: Sequence[str],
        requests: Mapping[tuple[str, int], str],
        general: Mapping[str, str],
    ) -> None:
        self.rng, self.words, self.general = rng, words, [*general.items()]
        self.answers: dict[str, list[tuple[int, str]]] = {}
        for (text, number), said in requests.items():
            self.answers.setdefault(text, []).append((number, said))
        self.about = [row for row, text in enumerate(words) if text in self.answers]

    def draw_rows(self, number: int) -> tuple[list[int], int]:
        """Draw which texts the images of a step show. Return them, and how many of them, first, have a request."""
        requests = round(REQUESTS * number)
        any_row = range(len(self.words))
        return [self.rng.choice(self.about if i < requests else any_row) for i in range(number)], requests

    def draw_request(self, row: int) -> Example:
        """Draw a request about an image."""
        text = self.words[row]
        phrase = find_phrase(text)
        assert phrase is not None
        number, said = self.rng.choice(self.answers[text])
        question = dialogue.write_medium_request(phrase, number, self.rng.randrange(60))
        return Example(question=question, answer=said, medium=BLANK)

    def draw_question(self, row: int, style: Sequence[int]) -> Example:
        """Draw a question for the text or the style of an image.

        Args:
            row: Which text.
            style: Classes of ink colour and texture; see `tower.STYLES`.
        """
        phrase = OpenPhrase(self.words[row], harmful=False)
        if self.rng.random() < STYLE_QUESTIONS:
            values = {name: values[i] for (name, values), i in zip(STYLES.items(), style, strict=True)}
            styles = answer_style_questions(values["colour"], values["texture"], "writing")
            question, answer = dialogue.draw_style_question(self.rng, styles, phrase.category)
        else:
            question, answer = dialogue.draw_content_question(self.rng, phrase)
        return Example(question=question, answer=answer, medium=BLANK)

    def draw_text(self) -> Example:
        """Draw a dialogue in text: a general question or a request, with the language model's own answer."""
        if self.rng.random() < GENERAL_TEXTS:
            question, said = self.rng.choice(self.general)
            return Example(question=question, answer=said)
        text = self.rng.choice([*self.answers])
        phrase = find_phrase(text)
        assert phrase is not None
        number, said = self.rng.choice(self.answers[text])
        return Example(question=dialogue.write_request(phrase, number), answer=said)
