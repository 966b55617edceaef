"""The sets as they really are, as far as they are there: counts, labels, inputs of both vocabularies."""

from collections import Counter

import pytest

from model import tokenizer as tokenizers
from pipeline.config import Kind
from pipeline.finetune.measure import figures
from pipeline.finetune.transform import Layout, inputs

pytestmark = pytest.mark.real_data
FOLDER = Kind("pipeline.finetune.datasets")

# Of what is there, by split: the labels and how often each is right.
LABELS = {
    ("cola", "train"): {0: 2_528, 1: 6_023},
    ("cola", "validation"): {0: 324, 1: 719},
    ("sst2", "train"): {0: 3_310, 1: 3_610},
    ("sst2", "validation"): {0: 428, 1: 444},
    ("sst2", "test"): {0: 912, 1: 909},
    ("mrpc", "train"): {0: 1_194, 1: 2_474},
    ("mrpc", "validation"): {0: 129, 1: 279},
    ("mrpc", "test"): {0: 578, 1: 1_147},
    ("rte", "train"): {0: 1_249, 1: 1_241},
    ("rte", "validation"): {0: 146, 1: 131},
    ("rte", "test"): {None: 3_000},
    ("snli", "validation"): {0: 3_329, 1: 3_235, 2: 3_278},
    ("snli", "test"): {0: 3_368, 1: 3_219, 2: 3_237},
    ("race", "validation"): {0: 1_067, 1: 1_291, 2: 1_303, 3: 1_226},
    ("race", "test"): {0: 1_063, 1: 1_323, 2: 1_324, 3: 1_224},
}
OTHERS = {
    ("stsb", "train"): 5_749,
    ("stsb", "validation"): 1_500,
    ("stsb", "test"): 1_379,
    ("squad", "validation"): 1_190,
}
IN_PART = {("sst2", "train"), ("squad", "validation")}


@pytest.mark.parametrize(("name", "split"), [*LABELS, *OTHERS])
def test_a_real_split_is_read_whole(real_data, name, split):
    found = FOLDER.config(name)().build()

    rows = found.read(split, real_data / "eval")

    assert not rows.left_out and ("published" in rows.told) == ((name, split) in IN_PART)
    assert len(rows.examples) == sum(LABELS.get((name, split), {0: OTHERS.get((name, split), 0)}).values())
    assert len({example.id for example in rows.examples}) == len(rows.examples)
    if (name, split) in LABELS:
        assert Counter(example.label for example in rows.examples) == LABELS[name, split]


def test_races_schools_have_the_questions_that_were_published(real_data):
    rows = FOLDER.config("race")().build().read("validation", real_data / "eval")

    assert Counter(example.group for example in rows.examples) == {"middle": 1_436, "high": 3_451}


def test_glues_file_of_stsb_holds_what_the_sets_own_does(real_data, tmp_path):
    found = FOLDER.config("stsb")().build()
    (tmp_path / "STS-B").mkdir()
    (tmp_path / "STS-B" / "dev.tsv").symlink_to(real_data / "eval" / "stsb" / "glue_dev.tsv")

    of_glue, own = (found.read("validation", folder).examples for folder in (tmp_path, real_data / "eval"))

    assert [example.label for example in of_glue] == [example.label for example in own]
    others = [
        place for place, pair in enumerate(zip(of_glue, own, strict=True)) if pair[0].texts != pair[1].texts
    ]
    assert len(others) == 7  # where GLUE added or took away a quotation mark, and nothing else
    for place in others:
        assert unquoted(of_glue[place].texts) == unquoted(own[place].texts)


def unquoted(texts):
    return [text.replace('"', "").replace("'", "") for text in texts]


def test_always_acceptable_is_worth_nothing_on_cola(real_data):
    found = FOLDER.config("cola")().build()
    examples = found.read("validation", real_data / "eval").examples

    told = figures(found, examples, [1] * len(examples))

    assert told["matthews"].value == 0 and told["accuracy"].value == pytest.approx(719 / 1_043)


def test_answers_of_squad_are_read_back_from_their_windows(real_data):
    found = FOLDER.config("squad")().build()
    examples = found.read("validation", real_data / "eval").examples
    layout = Layout.behind(50_257, 256)
    tokenizer = tokenizers.gpt2()

    read_back = []
    for example in examples:
        windows = [window for window in inputs("span", example, tokenizer, layout) if window.answer]
        (text,) = {window.text(example.context, *window.answer) for window in windows}
        read_back.append(text == example.answers[0][1])
        assert example.answers[0][1] in text  # where an answer ends within a word, the word ends it

    assert read_back.count(False) == 1  # `(2,70`, of `(2,700`


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cola", "rte", "stsb", "race"])
def test_real_texts_fit_the_context_of_gpt1_in_its_own_vocabulary(real_data, name):
    pytest.importorskip("spacy")
    tokenizer = tokenizers.load(real_data / "bpe" / "gpt1")
    layout = Layout.behind(tokenizer.vocab_size, 512)
    found = FOLDER.config(name)().build()

    for example in found.read("validation", real_data / "eval").examples[:40]:
        for sequence in inputs(found.kind, example, tokenizer, layout):
            assert sequence.ids[0] == 40_478 and sequence.ids[-1] == 40_480 and len(sequence.ids) <= 512
            assert (40_479 in sequence.ids) == (found.kind != "classification")
