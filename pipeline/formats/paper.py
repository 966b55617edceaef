"""What the GPT-2 paper printed for its four models, by the names and in the units that our results have.

Radford, Wu, Child, Luan, Amodei, Sutskever: Language Models are Unsupervised Multitask Learners (2019).
Shares are shares here (0.4599) where the paper prints per cents (45.99); ROUGE and BLEU are points of 100.
What stands only in a figure was read off it: checked on Figure 2, whose numbers Table 3 prints too, this errs
by at most 0.04 points. The models go by the paper's labels; their true parameter counts, the embedding
counted once, are in `PARAMETERS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PARAMETERS: Mapping[str, int] = {
    "117M": 124_439_808,
    "345M": 354_823_168,
    "762M": 774_030_080,
    "1542M": 1_557_611_200,
}
"""Table 2's labels, and the parameters of the weights that were released under them."""
SIZES = tuple(PARAMETERS)

NO_MODEL, WEBTEXT, OWN_TRAINING = "no model", "WebText", "its own training text"
"""What else than a model the paper has figures of."""

CNN = "cnn_dailymail"
_TABLE_3, _LARGEST = "Table 3", "1542M"


@dataclass(frozen=True, kw_only=True)
class Published:
    """Figures of one metric by model (or by what else the paper names), and where they are from.

    `read_off` are the models whose figure was read off a drawing; `before` is the best that the paper knew
    without its own models; `note` is what a reader must know to compare.
    """

    title: str
    figures: Mapping[str, float]
    where: str
    read_off: tuple[str, ...] = ()
    before: float | None = None
    note: str = ""


def figures(task: str, metric: str) -> dict[str, float]:
    """Return the paper's figures of a task's metric by the labels of its models; none where it has none."""
    found = PAPER.get((task, metric))
    return dict(found.figures) if found else {}


def title_of(task: str) -> str:
    """Return what the paper calls a task; one that it has not goes by its name."""
    titles = (published.title for (known, _), published in PAPER.items() if known == task)
    return next(titles, task.replace("_", " ")).partition(",")[0]


def _sizes(*values: float, percent: bool = False) -> dict[str, float]:
    """Return a value for each model, smallest first."""
    return {
        size: round(value / 100, 6) if percent else value for size, value in zip(SIZES, values, strict=True)
    }


_STOP_WORDS = (
    "the paper's accuracies, by section 3.3, are with the stop-word filter; reproductions with the released "
    "weights come near the smaller models' by the last token alone"
)
_WIKITEXT = "the paper gives WikiText-2 and WikiText-103 different figures, though they share their test text"
_READ_OFF_WINOGRAD = "read off Figure 3 and taken to the nearest multiple of 1/273"
_BASELINES = (
    ("lead_3", "the first three sentences", NO_MODEL, (40.38, 17.66, 36.62, 31.55)),
    ("random_3", "three random sentences", NO_MODEL, (28.78, 8.63, 25.52, 20.98)),
    ("no_hint", "without the hint", _LARGEST, (21.58, 4.03, 19.47, 15.03)),
)
_OVERLAPS = {  # per cent: with WebText, with the set's own training text
    "ptb": ("Penn Treebank", 0.88, 2.67),
    "wikitext2": ("WikiText-2", 1.63, 0.66),
    "enwik8": ("enwik8", 6.31, 7.50),
    "text8": ("text8", 3.94, 2.34),
    "wikitext103": ("WikiText-103", 2.42, 9.09),
    "one_billion_words": ("One Billion Words", 3.75, 13.19),
}

PAPER: Mapping[tuple[str, str], Published] = {
    ("lambada", "perplexity"): Published(
        title="LAMBADA", figures=_sizes(35.13, 15.60, 10.87, 8.63), where=_TABLE_3, before=99.8
    ),
    ("lambada", "accuracy_stop_word_filter"): Published(
        title="LAMBADA",
        figures=_sizes(45.99, 55.48, 60.12, 63.24, percent=True),
        where=_TABLE_3,
        before=0.5923,
        note=_STOP_WORDS,
    ),
    ("lambada", "accuracy_last_word"): Published(
        title="LAMBADA", figures={_LARGEST: 0.5266}, where="section 3.3"
    ),
    ("cbt_cn", "accuracy"): Published(
        title="CBT common nouns",
        figures=_sizes(87.65, 92.35, 93.45, 93.30, percent=True),
        where=_TABLE_3,
        before=0.857,
    ),
    ("cbt_ne", "accuracy"): Published(
        title="CBT named entities",
        figures=_sizes(83.4, 87.1, 88.0, 89.05, percent=True),
        where=_TABLE_3,
        before=0.823,
    ),
    ("wikitext2", "word_perplexity"): Published(
        title="WikiText-2",
        figures=_sizes(29.41, 22.76, 19.93, 18.34),
        where=_TABLE_3,
        before=39.14,
        note=_WIKITEXT,
    ),
    ("ptb", "word_perplexity"): Published(
        title="Penn Treebank", figures=_sizes(65.85, 47.33, 40.31, 35.76), where=_TABLE_3, before=46.54
    ),
    ("enwik8", "bits_per_byte"): Published(
        title="enwik8", figures=_sizes(1.16, 1.01, 0.97, 0.93), where=_TABLE_3, before=0.99
    ),
    ("text8", "bits_per_character"): Published(
        title="text8", figures=_sizes(1.17, 1.06, 1.02, 0.98), where=_TABLE_3, before=1.08
    ),
    ("wikitext103", "word_perplexity"): Published(
        title="WikiText-103",
        figures=_sizes(37.50, 26.37, 22.05, 17.48),
        where=_TABLE_3,
        before=18.3,
        note=_WIKITEXT,
    ),
    ("one_billion_words", "word_perplexity"): Published(
        title="One Billion Words", figures=_sizes(75.20, 55.72, 44.575, 42.16), where=_TABLE_3, before=21.8
    ),
    ("winograd", "accuracy_partial"): Published(
        title="Winograd, partial scoring",
        figures=_sizes(61.54, 62.27, 69.23, 70.70, percent=True),
        where="Figure 3; 1542M section 3.4",
        read_off=SIZES[:3],
        before=0.637,
        note=_READ_OFF_WINOGRAD,
    ),
    ("winograd", "accuracy_full"): Published(
        title="Winograd, full scoring",
        figures=_sizes(55.68, 58.61, 64.47, 66.67, percent=True),
        where="Figure 3",
        read_off=SIZES,
        before=0.637,
        note=_READ_OFF_WINOGRAD,
    ),
    ("coqa", "f1"): Published(
        title="CoQA",
        figures=_sizes(26.0, 43.6, 49.9, 55.0, percent=True),
        where="Figure 1; 1542M section 3.5",
        read_off=SIZES[:3],
        before=0.89,
        note="the best before, nearly 89, was trained on CoQA; people have 89.8",
    ),
    (CNN, "rouge_1"): Published(
        title="CNN/DailyMail", figures={_LARGEST: 29.34}, where="Table 4", before=41.22
    ),
    (CNN, "rouge_2"): Published(
        title="CNN/DailyMail", figures={_LARGEST: 8.27}, where="Table 4", before=18.68
    ),
    (CNN, "rouge_l"): Published(
        title="CNN/DailyMail", figures={_LARGEST: 26.58}, where="Table 4", before=38.34
    ),
    (CNN, "rouge_average"): Published(
        title="CNN/DailyMail",
        figures=_sizes(16.93, 20.76, 21.53, 21.40),
        where="Figure 1; 1542M Table 4",
        read_off=SIZES[:3],
        before=32.75,
        note="mean of ROUGE-1, 2 and L",
    ),
    **{
        (CNN, f"rouge_{kind}_{baseline}"): Published(
            title=f"CNN/DailyMail, {words}", figures={who: points}, where="Table 4"
        )
        for baseline, words, who, row in _BASELINES
        for kind, points in zip(("1", "2", "l", "average"), row, strict=True)
    },
    ("wmt14_fr_en", "bleu"): Published(
        title="WMT-14 French to English",
        figures=_sizes(0.7, 3.1, 7.1, 11.5),
        where="Figure 1; 1542M section 3.7",
        read_off=SIZES[:3],
        before=33.5,
        note="the best before is the best without pairs of sentences",
    ),
    ("wmt14_en_fr", "bleu"): Published(
        title="WMT-14 English to French", figures={_LARGEST: 5.0}, where="section 3.7"
    ),
    ("natural_questions", "exact_match"): Published(
        title="Natural Questions",
        figures=_sizes(0.77, 1.94, 2.66, 4.1, percent=True),
        where="Figure 1; 1542M section 3.8",
        read_off=SIZES[:3],
    ),
    ("natural_questions", "exact_match_confident_1_percent"): Published(
        title="Natural Questions, the most confident 1 %", figures={_LARGEST: 0.631}, where="section 3.8"
    ),
    ("webtext", "perplexity_train"): Published(
        title="WebText, train",
        figures=_sizes(16.25, 12.29, 10.39, 8.93),
        where="Figure 4",
        read_off=SIZES,
        note="of the paper's own WebText: another text than yours",
    ),
    ("webtext", "perplexity_test"): Published(
        title="WebText, test",
        figures=_sizes(16.92, 12.96, 11.27, 10.21),
        where="Figure 4",
        read_off=SIZES,
        note="of the paper's own WebText: another text than yours",
    ),
    **{
        ("overlap", f"shared_{task}"): Published(title=title, figures={WEBTEXT: share / 100}, where="Table 6")
        for task, (title, share, _) in _OVERLAPS.items()
    },
    **{
        ("overlap", f"own_training_{task}"): Published(
            title=title, figures={OWN_TRAINING: share / 100}, where="Table 6"
        )
        for task, (title, _, share) in _OVERLAPS.items()
    },
    ("overlap", "shared_lambada"): Published(
        title="LAMBADA", figures={WEBTEXT: 0.012}, where="section 4, mean over examples"
    ),
    ("overlap", "shared_held_out_text_median"): Published(
        title="Held-out text, median", figures={WEBTEXT: 0.026}, where="section 4"
    ),
    ("overlap", "shared_generations_none"): Published(
        title="Texts of the model without overlap",
        figures={WEBTEXT: 0.3},
        where="section 4",
        note="the paper says: over 30 %",
    ),
}
"""Keys are (task, metric), in the order in which the paper comes to them."""
