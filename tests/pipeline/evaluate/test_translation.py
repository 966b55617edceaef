"""Lines in two languages: both layouts, prompts in both directions, what is taken of a reply."""

import dataclasses

import pytest

from pipeline.config import validate
from pipeline.errors import ConfigError, FormatError
from pipeline.evaluate.task import Generation, Reply
from pipeline.evaluate.tasks import wmt14_en_fr, wmt14_fr_en
from pipeline.evaluate.translation import PAIRS, SOURCE, Pair, Segment, hub_row
from pipeline.formats.source import read

ENGLISH = ["The cat sat.", "Salt & pepper. More of it."]
FRENCH = ["Le chat s'est assis.", "Sel et\u2028poivre. Encore plus."]


def plain(folder, english=ENGLISH, french=FRENCH):
    (folder / "wmt14_enfr").mkdir()
    for language, lines in (("en", english), ("fr", french)):
        path = folder / "wmt14_enfr" / f"newstest2014.{language}"
        path.write_text("".join(f"{line}\n" for line in lines))


def published(folder, english=ENGLISH, french=FRENCH):
    (folder / "test-full").mkdir()
    for name, lines in (("src.en", english), ("ref.fr", french)):
        segments = (
            f'<seg id="{n}"> {line.replace("&", "&amp;")} </seg>\n' if line else f'<seg id="{n}">\n'
            for n, line in enumerate(lines, 1)
        )
        content = f'<refset setid="x">\n<doc docid="1">\n<p>\n{"".join(segments)}</p>\n</doc>\n</refset>\n'
        (folder / "test-full" / f"newstest2014-fren-{name}.sgm").write_text(content)


@pytest.fixture
def task(setting, tmp_path):
    plain(tmp_path)

    def build(kind=wmt14_en_fr, **options):
        return kind.Config(**options).build(dataclasses.replace(setting, data=tmp_path, n_ctx=2048))

    return build


def reply(task, number, text):
    example = task.examples()[number]
    requests = task.requests(example)
    return task.score(
        example,
        [
            Reply(text=text) if isinstance(each, Generation) else Reply(nats=(2.0,) * len(each.target))
            for each in requests
        ],
    )


@pytest.mark.parametrize("write", [plain, published])
def test_both_layouts_say_the_same(write, tmp_path):
    write(tmp_path)

    assert read(SOURCE, tmp_path).rows == [
        Segment("The cat sat.", "Le chat s'est assis."),
        Segment("Salt & pepper. More of it.", "Sel et poivre. Encore plus."),
    ]


def test_a_row_by_name_is_read_alike():
    assert hub_row({"translation": {"en": "Yes. ", "fr": "Oui."}}) == Segment("Yes.", "Oui.")
    with pytest.raises(ValueError, match="a side is empty"):
        hub_row({"translation": {"en": "Yes. ", "fr": ""}})


@pytest.mark.parametrize(
    ("write", "french", "message"),
    [
        (plain, FRENCH[:1], r"newstest2014\.fr:1: the last of 1 lines, but newstest2014\.en has 2"),
        (plain, ["Oui.", " "], r"newstest2014\.fr:2: no text in this line"),
        (published, ["Oui.", ""], r"ref\.fr\.sgm:5: no text in this line"),
    ],
)
def test_a_line_without_its_like_is_named(write, french, message, tmp_path):
    write(tmp_path, french=french)

    with pytest.raises(FormatError, match=message):
        read(SOURCE, tmp_path)


@pytest.mark.parametrize(
    ("kind", "pair", "last"),
    [
        (wmt14_en_fr, "{0.english} = {0.french}\n", "The cat sat. ="),
        (wmt14_fr_en, "{0.french} = {0.english}\n", "Le chat s'est assis. ="),
    ],
)
def test_a_prompt_shows_pairs_and_asks_for_the_last_half(kind, pair, last, task, setting):
    built = task(kind)

    wish, loss = built.requests(built.examples()[0])

    expected = "".join(pair.format(each) for each in PAIRS) + last
    assert wish.prompt[0] == setting.tokenizer.eot_id
    assert setting.tokenizer.decode(wish.prompt[1:]) == expected
    assert (wish.temperature, wish.max_new_tokens, wish.stop) == (0, 200, ("\n",))
    assert loss.context == wish.prompt
    assert repr(expected.removesuffix(last)) in built.protocol and "nrefs:1|case:mixed" in built.protocol


def test_the_first_sentence_or_the_first_line_is_taken(task):
    written = " Du sel. Et du poivre."

    assert reply(task(), 1, written)["translation"] == "Du sel."
    assert reply(task(first="line"), 1, written)["translation"] == "Du sel. Et du poivre."
    assert reply(task(), 1, written)["written"] == "Du sel. Et du poivre."


def test_an_empty_translation_is_scored_and_counted(task):
    built = task()
    records = [reply(built, 0, " Le chat s'est assis."), reply(built, 1, " ")]

    found = {metric.name: metric.estimate for metric in built.metrics(records)}

    assert records[1]["empty"] and records[1]["translation"] == ""
    assert found["empty"].value == 0.5 and found["bleu"].num_examples == 2
    assert 0 < found["bleu"].value < 100 and found["sentence_bleu"].value == pytest.approx(50)


def test_what_does_not_fit_loses_its_beginning_and_is_marked(task, setting, tmp_path):
    built = wmt14_en_fr.Config().build(dataclasses.replace(setting, data=tmp_path, n_ctx=32))
    wish, *losses = built.requests(built.examples()[1])

    assert wish.max_new_tokens == 16 and len(wish.prompt) == 16
    assert setting.tokenizer.decode(wish.prompt).endswith(" More of it. =")
    reference = setting.tokenizer.encode(" Sel et poivre. Encore plus.")
    assert [id for each in losses for id in each.target] == reference
    assert reply(built, 1, "")["cut"] and not reply(task(), 1, "")["cut"]


def test_pairs_of_ones_own_are_taken():
    config = validate(wmt14_en_fr.Config, {"pairs": [{"english": "Yes.", "french": "Oui."}]}, "test")

    assert config.pairs == (Pair(english="Yes.", french="Oui."),)
    with pytest.raises(ConfigError, match="french"):
        validate(wmt14_en_fr.Config, {"pairs": [{"english": "Yes.", "french": " "}]}, "test")
