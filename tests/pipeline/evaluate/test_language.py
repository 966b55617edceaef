"""How a text is cut into windows, and that what is counted does not depend on how."""

import dataclasses
import math

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.evaluate.detokenize import NEWS
from pipeline.evaluate.language import LanguageTask, Windows, windows
from pipeline.evaluate.original import plain_text, written_text
from pipeline.evaluate.task import Reply

LINES = [
    f" The {'very ' * (n % 7)}old man 's dog , {n} @-@ legged , didn 't bark – “ naïve ” . \n"
    for n in range(60)
]


def task(setting, texts=None, *, window=64, stride=None):
    config = Windows(window=window, stride=stride)
    found = [written_text(LINES, NEWS)[0]] if texts is None else texts
    return LanguageTask("some", "some text", "0" * 64, found, config.sizes("some", setting), setting)


def figures(task, nats):
    """Answer every request with these nats for each id, and return the figures by name."""
    records = [
        task.score(example, [Reply(nats=(nats,) * len(r.target)) for r in task.requests(example)])
        for example in task.examples()
    ]
    return {metric.name: metric.estimate for metric in task.metrics(records)}


@pytest.mark.parametrize("stride", [None, 1, 7, 40, 64])
def test_every_id_is_scored_once_with_as_much_context_as_fits(setting, stride):
    asked = task(setting, stride=stride)
    stream = [setting.tokenizer.eot_id, *setting.tokenizer.encode(written_text(LINES, NEWS)[0].text)]
    place = 1
    for example in asked.examples():
        for request in asked.requests(example):
            assert list(request.target) == stream[place : place + len(request.target)]
            assert list(request.context) == stream[place - len(request.context) : place]
            fits = len(request.context) + len(request.target) - 1
            assert fits == 64 or len(request.context) == place
            assert len(request.target) == (stride or 64) or place + len(request.target) == len(stream)
            place += len(request.target)
    assert place == len(stream)


def test_windows_without_overlap_have_one_id_of_context_but_for_the_last():
    found = list(windows(range(100, 150), 1, 50, 16, 16))

    assert [len(request.context) for request in found] == [1, 1, 1, 16]
    assert [len(request.target) for request in found] == [16, 16, 16, 1]


@pytest.mark.parametrize("stride", [None, 1, 13])
def test_units_of_the_original_are_counted_whatever_the_stride(setting, stride):
    original = "".join(LINES)
    records = [
        asked.score(example, []) for asked in [task(setting, stride=stride)] for example in asked.examples()
    ]

    assert sum(record["words"] for record in records) == len(original.split()) + len(LINES)
    assert sum(record["bytes"] for record in records) == len(original.encode())
    assert len(records) > 5 and all(record["words"] for record in records)


def test_a_limit_takes_the_first_spans_with_the_units_that_end_in_them(setting):
    whole, limited = task(setting), task(dataclasses.replace(setting, limit=2))
    records = [whole.score(example, []) for example in whole.examples()]

    assert [limited.score(example, []) for example in limited.examples()] == records[:2]
    assert written_text(LINES, NEWS)[0].text.startswith(records[0]["text"])


def test_a_uniform_model_costs_the_logarithm_of_the_vocabulary_per_token(setting):
    size = setting.tokenizer.vocab_size
    found = figures(task(setting), math.log(size))
    original, text = "".join(LINES), written_text(LINES, NEWS)[0].text
    tokens, words = len(setting.tokenizer.encode(text)), len(original.split()) + len(LINES)

    assert found["token_perplexity"].value == pytest.approx(size)
    assert found["word_perplexity"].value == pytest.approx(size ** (tokens / words))
    bits = tokens * math.log2(size) / len(original.encode())
    assert found["bits_per_byte"].value == pytest.approx(bits)
    assert "bits_per_character" not in found
    assert all(estimate.stderr is not None for estimate in found.values())


def test_a_model_that_knows_the_text_loses_nothing(setting):
    found = figures(task(setting), 0.0)

    assert [found[name].value for name in ("word_perplexity", "token_perplexity", "bits_per_byte")] == [
        1,
        1,
        0,
    ]


def test_a_plain_text_is_counted_in_bytes_and_characters(setting):
    text = "Zürich – “naïve” 世界 " * 40
    found = figures(task(setting, [plain_text(text)]), math.log(2))
    tokens = len(setting.tokenizer.encode(text))

    assert found["bits_per_byte"].value == pytest.approx(tokens / len(text.encode()))
    assert found["bits_per_character"].value == pytest.approx(tokens / len(text))
    assert "word_perplexity" not in found


def test_several_texts_do_not_see_each_other(setting):
    texts = [plain_text(text) for text in ("one two three " * 40, "four five six")]
    asked = task(setting, texts)
    requests = [asked.requests(example) for example in asked.examples()]

    assert len(requests) == 2 and len(requests[0]) > 1 and len(requests[1]) == 1
    assert requests[1][0].context == (setting.tokenizer.eot_id,)
    assert asked.protocol.endswith("stderr over texts")


class Forgetful:
    """A tokenizer whose ids stand for more bytes than the text has, as GPT-1's, which cleans it."""

    def __init__(self, tokenizer):
        self.eot_id, self.encode, self.decode = tokenizer.eot_id, tokenizer.encode, tokenizer.decode
        self._lengths = [2 * length for length in tokenizer.byte_lengths()]

    def byte_lengths(self):
        return self._lengths


def test_ids_that_do_not_spell_the_text_share_its_bytes(setting):
    asked = task(dataclasses.replace(setting, tokenizer=Forgetful(setting.tokenizer)))
    records = [asked.score(example, []) for example in asked.examples()]

    assert sum(record["bytes"] for record in records) == len("".join(LINES).encode())


def test_the_context_is_the_papers_or_less_where_the_model_has_less(setting):
    assert Windows().sizes("x", setting) == (64, 64)
    assert Windows(stride=32).sizes("x", dataclasses.replace(setting, n_ctx=2048)) == (1024, 32)
    with pytest.raises(ConfigError, match=r"tasks: x: stride 65 is more than the context \(64\)"):
        Windows(stride=65).sizes("x", setting)


def test_counts_begin_with_nothing_and_end_with_all():
    text, _ = written_text(LINES, NEWS)
    for counts in text.counts.values():
        assert len(counts) == len(text.text.encode()) + 1 and counts[0] == 0
        assert np.all(np.diff(counts) >= 0)
