"""The vocabulary of the demo: fictional models, questions, answers and comments, with probabilities."""

from typing import NamedTuple


class DemoModel(NamedTuple):
    """A fictional model.  `quality` is the probability of a good answer."""

    name: str
    provider: str
    share: float
    quality: float
    latency_ms: float
    usd_per_1k_tokens: float


MODELS = (
    DemoModel("aurora-large", "northlight", 0.30, 0.86, 1900.0, 0.0150),
    DemoModel("aurora-mini", "northlight", 0.25, 0.71, 420.0, 0.0006),
    DemoModel("heron-70b", "wader", 0.20, 0.78, 1250.0, 0.0030),
    DemoModel("heron-8b", "wader", 0.15, 0.58, 310.0, 0.0002),
    DemoModel("quill-2-preview", "inkwell", 0.10, 0.66, 2600.0, 0.0090),
)


class DemoTopic(NamedTuple):
    """A question, and the beginning of its answer."""

    tag: str
    prompt: str
    response: str


TOPICS = (
    DemoTopic(
        "cooking",
        "How long do I boil a soft egg?",
        "Six minutes from boiling water, then cold water at once.",
    ),
    DemoTopic("code", "Why does my Python list change twice?", "Both names refer to the same list object."),
    DemoTopic(
        "code",
        "Write a SQL query for the top ten customers.",
        "SELECT customer, sum(total) AS spent FROM orders",
    ),
    DemoTopic(
        "travel", "Is two days enough for Lisbon?", "For the old town, yes; add a third day for Sintra."
    ),
    DemoTopic("writing", "Make this sentence shorter, please.", "Here is a version with half the words."),
    DemoTopic(
        "writing",
        "Draft a polite reminder for an unpaid bill.",
        "Dear customer, our invoice of last month is open.",
    ),
    DemoTopic("support", "How do I reset my password?", "Choose “Forgot password” below the sign-in form."),
    DemoTopic(
        "support", "The app says error 17, what now?", "Error 17 means that the device clock is wrong."
    ),
    DemoTopic(
        "maths",
        "What is the derivative of x to the x?",
        "It is x to the x times one plus the logarithm of x.",
    ),
    DemoTopic(
        "health", "Is coffee at night really that bad?", "Its half-life is about five hours, so it depends."
    ),
    DemoTopic(
        "translation",
        "Wie sagt man „Feierabend“ auf Englisch?",
        "There is no single word; “knocking-off time” is near.",
    ),
    DemoTopic("translation", "「お疲れ様」は英語で何と言いますか。", "“Good work today” is a common choice."),
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
