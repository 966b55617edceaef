"""A few rows of every evaluation set, invented, in the layout in which the set is published.

With them stands what a model must have read to be right, and what figures one has that knows it, and one
that takes all ids for equally likely and writes nothing.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .invented_labelled import LABELLED

WORD = "qxzjk"
"""The one word that is an id, with the blank before it; all else is spelled in bytes, so that texts as long
as each other have as many ids."""
VOCABULARY = 256 + 1 + len(WORD)
"""Every byte, end of text, and the merges up to that word."""
BITS = math.log2(VOCABULARY)


@dataclass(frozen=True, kw_only=True)
class Invented:
    """The rows of one kind of task: `files` below the folder of sets, by name.

    `known` are texts as the task spells them; `right` and `chance` figures by metric; `damaged` files as they
    must not be, with the message that says so; `short` the options with which a context of 48 ids will do.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    known: tuple[str, ...] = ()
    right: Mapping[str, float] = field(default_factory=dict)
    chance: Mapping[str, float] = field(default_factory=dict)
    damaged: tuple[tuple[Mapping[str, str], str], ...] = ()
    short: Mapping[str, Any] = field(default_factory=dict)


def cloze(words: str) -> Invented:
    """Two questions with ten choices of three letters."""
    path = f"CBTest/data/cbtest_{words}_valid_2000ex.txt"
    book = [f"The {name} went up hill number {n}" for n in range(2) for name in "abcdefghij"]
    choices = ["fox", "cat", "dog", "hen", "pig", "cow", "rat", "ant", "bee", "owl"]
    rows, known = "", []
    for answer in ("fox", "owl"):
        lines = [*book, f"So the XXXXX ran home\t{answer}\t\t{'|'.join(choices)}"]
        rows += "".join(f"{n} {line}\n" for n, line in enumerate(lines, 1)) + "\n"
        known.append(" ".join([*book, f"So the {answer} ran home"]))
    # Nobody can know which of two like questions is meant: the second has a book of its own.
    rows = rows[: len(rows) // 2] + rows[len(rows) // 2 :].replace("up hill", "to lake").replace("So", "Now")
    known[1] = known[1].replace("up hill", "to lake").replace("So", "Now")
    return Invented(
        files={path: rows},
        known=tuple(known),
        right={"accuracy": 1, "bits_per_byte": 0, "context_cut": 0},
        chance={"accuracy": 1 / 10, "bits_per_byte": BITS},
        damaged=(
            ({path: rows.replace("\t\t", "\t")}, r"cbtest_\w+_valid_2000ex\.txt:21: 3 columns"),
            ({path: rows.replace("XXXXX", "fox")}, r"2000ex\.txt:21: no XXXXX"),
            ({path: rows.replace("3 The", "4 The")}, r"2000ex\.txt:3: "),
            ({path: rows.replace("\towl\t", "\telk\t")}, r"2000ex\.txt:\d+: the answer 'elk'"),
        ),
    )


def winograd() -> Invented:
    """Two sentences whose candidates are equally long."""
    schemas = [
        ("The box did not fit into the bag because", "it", "was too large.", "The box", "The bag", "A"),
        ("The fox chased the hen since", "it", "was afraid of nobody.", "The fox", "The hen", "A."),
        ("The old cow always fed the dog because", "it", "was hungry.", "The cow", "The dog", "B"),
    ]
    rows = [
        f"<schema>\n<text><txt1>{before}</txt1><pron>{pronoun}</pron><txt2>{after}</txt2></text>\n"
        f"<answers><answer>{first}</answer><answer>{second}</answer></answers>\n"
        f"<correctAnswer>{right}</correctAnswer>\n</schema>\n"
        for before, pronoun, after, first, second, right in schemas
    ]
    content = f"<?xml version='1.0' encoding='UTF-8'?>\n<collection>\n{''.join(rows)}</collection>\n"
    return Invented(
        files={"WSCollection.xml": content},
        known=(
            "The box did not fit into the bag because the box was too large.",
            "The fox chased the hen since the fox was afraid of nobody.",
            "The old cow always fed the dog because the dog was hungry.",
        ),
        right={"accuracy_full": 1, "accuracy_partial": 1, "bits_per_byte": 0},
        chance={"accuracy_full": 1 / 2, "accuracy_partial": 1 / 2, "bits_per_byte": BITS},
        damaged=(
            (
                {"WSCollection.xml": content.replace("<answer>The hen</answer>", "")},
                r"WSCollection\.xml:8: a schema needs",
            ),
            ({"WSCollection.xml": content.replace(">B<", ">C<")}, r"WSCollection\.xml:13: a schema needs"),
            ({"WSCollection.xml": content.replace("</pron>", "")}, r"WSCollection\.xml:\d+: "),
        ),
    )


def coqa() -> Invented:
    """A passage with two turns, another with one."""
    stories = [
        ("A red fox ran to the old mill at noon.", [("Who ran?", "a red fox"), ("When?", "at noon")]),
        ("Two hens sat on a fence until dusk came.", [("How many sat?", "two")]),
    ]
    rows, known = [], []
    for number, (story, turns) in enumerate(stories):
        questions, answers = (
            [{"input_text": text, "turn_id": n} for n, text in enumerate(side, 1)]
            for side in zip(*turns, strict=True)
        )
        row = {"source": "x", "id": f"id{number}", "story": story, "questions": questions, "answers": answers}
        rows.append({**row, "additional_answers": {"0": answers, "1": answers}})
        known.append(f"{story}\n\n" + "".join(f"Q: {question}\nA: {answer}\n" for question, answer in turns))
    content = json.dumps({"data": rows}, indent=1)
    return Invented(
        files={"coqa-dev-v1.0.json": content},
        known=tuple(known),
        right={"f1": 1, "exact_match": 1, "bits_per_byte": 0},
        chance={"f1": 0, "exact_match": 0, "bits_per_byte": BITS},
        damaged=(
            ({"coqa-dev-v1.0.json": content[:-3]}, r"coqa-dev-v1\.0\.json:\d+: "),
            (
                {"coqa-dev-v1.0.json": content.replace('"id": "id1"', '"name": "id1"')},
                r"json:\d+: conversation 1: ",
            ),
            ({"coqa-dev-v1.0.json": "{}"}, r"json:1: no conversations"),
        ),
    )


def natural_questions() -> Invented:
    """Two questions, one with two answers that are right."""
    rows = [
        {"question": "who ate the last pie in town", "answer": ["The fox"]},
        {"question": "when did the old mill burn down", "answer": ["1871", "in 1871"]},
    ]
    content = "".join(f"{json.dumps(row)}\n" for row in rows)
    path = "nq_open/NQ-open.dev.jsonl"
    return Invented(
        files={path: content},
        known=tuple(f"Q: {row['question']}?\nA: {row['answer'][0]}\n" for row in rows),
        right={
            "exact_match": 1,
            "exact_match_confident_1_percent": 1,
            "calibration_error": 0,
            "bits_per_byte": 0,
        },  # fmt: skip
        chance={"exact_match": 0, "exact_match_confident_1_percent": 0, "bits_per_byte": BITS},
        damaged=(
            ({path: content + "{\n"}, r"NQ-open\.dev\.jsonl:3: "),
            ({path: content.replace('"answer": ["The fox"]', '"answers": []')}, r"jsonl:1: KeyError"),
            ({path: content.replace('["1871", "in 1871"]', "[]")}, r"jsonl:2: .* one answer or more"),
        ),
    )


def cnn_dailymail() -> Invented:
    """Two articles, summed up in three sentences."""
    articles = [
        (
            "A dam broke in the far north. Roads are shut. Rain goes on. Help is near.",
            "A dam broke. Rain. Help.",
        ),
        (
            "The mill burned down at noon. Nobody was hurt. It was old.",
            "A mill burned. All live. It is gone.",
        ),
    ]
    path = "cnn_dailymail/test.csv"
    body = "".join(
        f'"{n}","{text}","{summary.replace(". ", f".{chr(10)}")}"\n'
        for n, (text, summary) in enumerate(articles)
    )
    content = f"id,article,highlights\n{body}"
    names = [f"rouge_{kind}" for kind in ("1", "2", "l", "l_whole", "average")]
    return Invented(
        files={path: content},
        known=tuple(f"{text}\nTL;DR: {summary}" for text, summary in articles),
        right={**dict.fromkeys(names, 100), "bits_per_byte": 0, "empty": 0},
        chance={
            **dict.fromkeys([*names, *(f"{name}_no_hint" for name in names)], 0),
            "bits_per_byte": BITS,
            "empty": 1,
        },  # fmt: skip
        damaged=(
            ({path: content.replace("highlights", "summary")}, r"test\.csv:1: no column highlights"),
            ({path: f'{content}"2","",""\n'}, r"test\.csv:8: an empty article or summary"),
            ({path: f'{content}"2","x'}, r"test\.csv:\d+: unexpected end"),
        ),
    )


def wmt14(to: str) -> Invented:
    """Three lines in two languages."""
    english, french = "wmt14_enfr/newstest2014.en", "wmt14_enfr/newstest2014.fr"
    pairs = [
        ("The cat sat on the mill.", "Le chat s'est assis sur le moulin."),
        ("Nobody was hurt at noon.", "Personne n'est blessé à midi."),
        ("It rained on Mr. Fox again.", "Il a plu sur M. Renard encore."),
    ]
    files = {english: "".join(f"{a}\n" for a, _ in pairs), french: "".join(f"{b}\n" for _, b in pairs)}
    known = [f"{a} = {b}\n" if to == "french" else f"{b} = {a}\n" for a, b in pairs]
    return Invented(
        files=files,
        known=tuple(known),
        right={"bleu": 100, "sentence_bleu": 100, "bits_per_byte": 0, "empty": 0},
        chance={"bleu": 0, "sentence_bleu": 0, "bits_per_byte": BITS, "empty": 1},
        damaged=(
            ({**files, french: files[french] + "Oui.\n"}, r"newstest2014\.en:3: the last of 3 lines"),
            (
                {**files, english: files[english].replace("Nobody was hurt at noon.", "")},
                r"2014\.en:2: no text",
            ),
        ),
    )


def lambada(path: str, malformed: str) -> Invented:
    """Passages that end with the one word."""
    texts = [
        f"Once at noon the {name} found what it had lost on the hill: a {WORD}"
        for name in ("fox", "hen", "cow")
    ]
    is_json = path.endswith(".jsonl")
    rows = [json.dumps({"text": text}) if is_json else text for text in texts]
    content = "".join(f"{row}\n" for row in rows)
    ways = ("accuracy_last_token", "accuracy_last_word", "accuracy_stop_word_filter")
    return Invented(
        files={path: content},
        known=tuple(texts),
        right={**dict.fromkeys(ways, 1), "perplexity": 1, "token_perplexity": 1, "bits_per_byte": 0},
        chance={
            **dict.fromkeys(ways, 0),
            "perplexity": VOCABULARY,
            "bits_per_byte": BITS / len(f" {WORD}"),
        },  # fmt: skip
        damaged=(({path: f"{content}{malformed}\n"}, rf"{path.rpartition('/')[2]}:4: "),),
    )


def language(path: str, original: str, text: str, words: int) -> Invented:
    """A text in the tokens of its set, as it is read, and how many words it counts for."""
    tokens = len(text.encode())
    return Invented(
        files={path: original * 30},
        known=(text * 30,),
        right={"word_perplexity": 1, "token_perplexity": 1, "bits_per_byte": 0},
        chance={
            "word_perplexity": VOCABULARY ** (tokens / words),
            "token_perplexity": VOCABULARY,
            "bits_per_byte": BITS * tokens / len(original.encode()),
        },
        damaged=(
            ({path: f"{original}{original.replace(chr(10), chr(13) + chr(10))}"}, r"\w:\d+: ends in CR LF"),
        ),
    )


def wikipedia(path: str) -> Invented:
    """A text of which the last twentieth is for testing."""
    text = "the mill burned down at noon nobody was hurt " * 10
    test = "the fox ran over the hill to the barn so far " * 60
    return Invented(
        files={path: text * 19 * 6 + test},
        known=(test,),
        right={"token_perplexity": 1, "bits_per_byte": 0, "bits_per_character": 0},
        chance={"token_perplexity": VOCABULARY, "bits_per_byte": BITS, "bits_per_character": BITS},
    )


WIKITEXT = (
    " \n = The old mill = \n \n The mill , built by Fox @-@ Hill Co. , burned down in 1 @,@ 900 . \n "
    "It 's gone . \n",
    "\n= The old mill =\n\nThe mill, built by Fox-Hill Co., burned down in 1,900.\nIt's gone.\n",
    31,
)
NEWS = (
    'The mill burned down , he said .\n" Nobody was hurt , " she added .\n',
    'The mill burned down, he said.\n"Nobody was hurt," she added.\n',
    19,
)
NEWS_PATH = (
    "1-billion-word-language-modeling-benchmark-r13output/heldout-monolingual.tokenized.shuffled/"
    "news.en.heldout-00000-of-00050"
)
TREEBANK = (
    " no it was n't black monday \n the <unk> cost N million in a year of losses \n",
    "no it wasn't black monday\nthe <unk> cost N million in a year of losses\n",
    18,
)

SAMPLES = {"prompt_tokens": 8, "max_new_tokens": 16}

INVENTED: dict[str, Invented] = {
    **{name: Invented(**given) for name, given in LABELLED.items()},
    "cbt_cn": cloze("CN"),
    "cbt_ne": cloze("NE"),
    "cnn_dailymail": cnn_dailymail(),
    "coqa": coqa(),
    "enwik8": wikipedia("enwik8/enwik8"),
    "held_out": Invented(
        right={"loss": 0, "perplexity": 1, "bits_per_byte": 0},
        chance={"loss": math.log(VOCABULARY), "perplexity": VOCABULARY},
    ),
    "lambada": lambada("lambada/lambada_test.jsonl", '{"txt": "two words"}'),
    "lambada_original": lambada("lambada-dataset/lambada_test_plain_text.txt", "one"),
    "last_word": Invented(
        right={"accuracy": 1, "perplexity": 1},
        chance={"accuracy": 0},
        short={"words": 20},
    ),
    "natural_questions": natural_questions(),
    "one_billion_words": language(NEWS_PATH, *NEWS),
    "overlap": Invented(short={"prompt_tokens": 8}),
    "ptb": language("simple-examples/data/ptb.test.txt", *TREEBANK),
    "samples": Invented(short=SAMPLES),
    "text8": wikipedia("text8/text8"),
    "webtext": Invented(
        right={"perplexity_train": 1, "perplexity_test": 1, "bits_per_byte_test": 0},
        chance={"perplexity_train": VOCABULARY, "perplexity_test": VOCABULARY},
    ),
    "wikitext103": language("wikitext-103-raw/wiki.test.raw", *WIKITEXT),
    "wikitext2": language("wikitext-2-raw/wiki.test.raw", *WIKITEXT),
    "winograd": winograd(),
    "wmt14_en_fr": wmt14("french"),
    "wmt14_fr_en": wmt14("english"),
}
