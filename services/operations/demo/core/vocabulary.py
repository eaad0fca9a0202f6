"""Invented models, questions and opinions: the words of the demo, and how likely they are.

Nothing here is about a real model, a real person or a real answer.
"""

from typing import NamedTuple


class Model(NamedTuple):
    """A model that does not exist.  `quality` is the chance that its answer pleases."""

    name: str
    provider: str
    share: float
    quality: float
    latency_ms: float
    usd_per_1k_tokens: float


MODELS = (
    Model("aurora-large", "northlight", 0.30, 0.86, 1900.0, 0.0150),
    Model("aurora-mini", "northlight", 0.25, 0.71, 420.0, 0.0006),
    Model("heron-70b", "wader", 0.20, 0.78, 1250.0, 0.0030),
    Model("heron-8b", "wader", 0.15, 0.58, 310.0, 0.0002),
    Model("quill-2-preview", "inkwell", 0.10, 0.66, 2600.0, 0.0090),
)


class Topic(NamedTuple):
    """What somebody asked, and what an answer began with."""

    tag: str
    prompt: str
    response: str


TOPICS = (
    Topic(
        "cooking",
        "How long do I boil a soft egg?",
        "Six minutes from boiling water, then cold water at once.",
    ),
    Topic("code", "Why does my Python list change twice?", "Both names refer to the same list object."),
    Topic(
        "code",
        "Write a SQL query for the top ten customers.",
        "SELECT customer, sum(total) AS spent FROM orders",
    ),
    Topic("travel", "Is two days enough for Lisbon?", "For the old town, yes; add a third day for Sintra."),
    Topic("writing", "Make this sentence shorter, please.", "Here is a version with half the words."),
    Topic(
        "writing",
        "Draft a polite reminder for an unpaid bill.",
        "Dear customer, our invoice of last month is open.",
    ),
    Topic("support", "How do I reset my password?", "Choose “Forgot password” below the sign-in form."),
    Topic("support", "The app says error 17, what now?", "Error 17 means that the device clock is wrong."),
    Topic(
        "maths",
        "What is the derivative of x to the x?",
        "It is x to the x times one plus the logarithm of x.",
    ),
    Topic(
        "health", "Is coffee at night really that bad?", "Its half-life is about five hours, so it depends."
    ),
    Topic(
        "translation",
        "Wie sagt man „Feierabend“ auf Englisch?",
        "There is no single word; “knocking-off time” is near.",
    ),
    Topic("translation", "「お疲れ様」は英語で何と言いますか。", "“Good work today” is a common choice."),
)

PRAISE = (
    "Exactly what I needed, thanks!",
    "Clear and short. More of this.",
    "Perfekt erklärt, endlich verstanden.",
    "¡Genial! Me ahorró una hora de trabajo.",
    "Réponse précise et bien structurée, merci.",
    "とても分かりやすかったです。",
    "Ótima resposta, bem direta ao ponto.",
    "Дуже корисно, дякую!",
    "回答很准确。谢谢!",
    "जवाब बिल्कुल सही था, धन्यवाद!",
    "إجابة ممتازة وواضحة",
    "👍👍",
    "Worked on the first try 🎉",
)

COMPLAINTS = (
    "Wrong. It made up a function that does not exist.",
    "Too long, and the answer is in the last sentence.",
    "Leider veraltet: die Einstellung heißt seit Jahren anders.",
    "No respondió a mi pregunta.",
    "La réponse est hors sujet.",
    "質問の意味を取り違えています。",
    "A resposta parou no meio da fra",
    "Відповідь англійською, хоча питання було українською.",
    "引用的来源不存在。",
    "लिंक काम नहीं कर रहा है।",
    "الترجمة غير دقيقة",
    "It repeated my question back to me.\nThree times.",
    "Refused a harmless question 🤷",
)

CHANGES_OF_MIND = (
    "Tried it again: it was my mistake, the answer is right.",
    "Update: it broke on the second run.",
    "Nach dem Testen: doch nicht richtig.",
    "En fait, ça marche très bien.",
    "やっぱり正しかったです。",
)

GOOD_TAGS = ("accurate", "helpful", "concise", "well-explained")
BAD_TAGS = ("inaccurate", "too-long", "off-topic", "outdated", "made-up", "refusal")
