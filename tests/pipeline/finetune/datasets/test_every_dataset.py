"""Every dataset is read as it is published, judged by its own labels, and refuses what is wrong."""

import importlib
from pathlib import Path

import pytest

from pipeline.config import Kind
from pipeline.errors import FormatError
from pipeline.finetune.dataset import Choice, Dataset, Pair, Span, Text
from pipeline.finetune.measure import figures
from pipeline.finetune.transform import Layout, inputs
from pipeline.formats import paper_gpt1
from pipeline.formats.source import MissingSet
from tests.pipeline.finetune.published import FILES

FOLDER = Kind("pipeline.finetune.datasets")
NAMES = FOLDER.names()
EXAMPLES = {"classification": Text, "entailment": Pair, "similarity": Pair, "choice": Choice, "span": Span}
TABLES = [name for name in NAMES if name not in ("race", "squad", "story_cloze")]


def dataset(name: str, **options: str) -> Dataset:
    return FOLDER.config(name)(**options).build()


def answers(found: Dataset, examples) -> list:
    return [example.answers[0][1] if found.kind == "span" else example.label for example in examples]


@pytest.mark.parametrize("name", NAMES)
def test_every_split_is_read_as_published_and_becomes_inputs(name, published, tokenizer):
    found, folder = dataset(name), published(name)
    layout = Layout.behind(tokenizer.vocab_size, 64)

    assert found.name == name and set(found.published) == set(found.splits)
    for split in found.splits:
        examples = found.read(split, folder).examples
        assert {type(example) for example in examples} == {EXAMPLES[found.kind]}
        assert len({example.id for example in examples}) == len(examples) > 0
        for example in examples:
            assert Path(example.place.split(":")[0]).is_file() and all(example.texts)
            for sequence in inputs(found.kind, example, tokenizer, layout):
                assert sequence.ids[0] == layout.start and sequence.ids[sequence.extract] == layout.extract


@pytest.mark.parametrize("name", NAMES)
def test_its_own_labels_are_right_by_all_its_metrics(name, published):
    found = dataset(name)
    examples = found.read("train", published(name)).examples

    told = figures(found, examples, answers(found, examples))

    assert [*told][: len(found.metrics)] == [*found.metrics]
    assert [estimate.value for estimate in told.values()] == pytest.approx([1.0] * len(told))


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_numbers_of_the_classes_or_scores_of_the_scale(name, published):
    found = dataset(name)
    labels = {example.label for example in found.read("train", published(name)).examples}

    if found.scale:
        low, high = found.scale
        assert labels == {5.0, 1.25, 3.0} and low <= min(labels) <= max(labels) <= high
    elif found.labels:
        assert labels == set(range(len(found.labels)))
    else:
        assert found.kind in ("choice", "span")


def test_the_paper_has_figures_for_every_dataset_but_squad():
    told = {name for name, _ in paper_gpt1.PAPER}

    assert told == {*NAMES, "glue"} - {"squad"}
    for name in sorted(told - {"glue"}):
        first = dataset(name).metrics[0]
        assert 0 < paper_gpt1.figures(name, first)[paper_gpt1.OURS] < 1
    assert paper_gpt1.figures("squad", "f1") == {}


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_set_is_named_with_the_place_to_get_it(name, tmp_path):
    found = dataset(name)

    with pytest.raises(MissingSet, match="get it from https://"):
        found.read("validation", tmp_path)


def damage(folder: Path, name: str, change) -> tuple[Path, int]:
    """Change the last line of a dataset's training file; return the file and the line's number."""
    path = folder / next(iter(FILES[name]))
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    lines[-1] = change(lines[-1])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path, len(lines)


LABELS = ["entailment", "not_entailment", "contradiction", "neutral", "entails"]


def with_label(line: str) -> str:
    """Misspell whatever in a line is a label."""
    fields = line.split("\t")
    return "\t".join("7" if field in ("0", "1", "3") or field in LABELS else field for field in fields)


@pytest.mark.parametrize("name", TABLES)
def test_an_unknown_label_is_refused_with_file_line_and_remedy(name, published):
    folder = published(name)
    path, line = damage(folder, name, with_label)

    with pytest.raises(FormatError) as refused:
        dataset(name).read("train", folder)

    assert str(refused.value).startswith(f"{path}:{line}: label '7' is ")
    assert "mend the row" in str(refused.value)


@pytest.mark.parametrize("name", TABLES)
def test_a_row_with_a_column_too_few_is_refused_or_left_out_and_counted(name, published):
    folder = published(name)
    whole = len(dataset(name).read("train", folder).examples)
    path, line = damage(folder, name, lambda line: line.rpartition("\t")[0])

    with pytest.raises(FormatError) as refused:
        dataset(name, incomplete="refuse").read("train", folder)
    assert str(refused.value).startswith(f"{path}:{line}: ") and "columns instead of" in str(refused.value)
    assert "set incomplete: leave_out" in str(refused.value)

    split = dataset(name, incomplete="leave_out").read("train", folder)
    assert len(split.examples) == whole - 1
    assert "1 left out" in split.told and "columns instead of" in split.told


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_text_is_refused_or_left_out_and_counted(name, published):
    folder = published(name)
    found = dataset(name, incomplete="leave_out")
    text = found.read("train", folder).examples[-1].texts[0]
    path, line = damage(folder, name, lambda line: line.replace(text, "  "))

    with pytest.raises(FormatError) as refused:
        dataset(name, incomplete="refuse").read("train", folder)
    assert str(refused.value).startswith(f"{path}:{line}: a text is empty; mend the row")
    assert found.read("train", folder).left_out["a text is empty"] == 1


@pytest.mark.parametrize("name", [name for name in TABLES if name not in ("cola", "scitail")])
def test_missing_columns_are_named(name, published):
    folder = published(name)
    path = folder / next(iter(FILES[name]))
    label = importlib.import_module(f"{FOLDER.folder}.{name}").FORMS[0].label
    path.write_text(path.read_text(encoding="utf-8").replace(label, "verdict", 1), encoding="utf-8")

    with pytest.raises(FormatError) as refused:
        dataset(name).read("train", folder)

    assert str(refused.value).startswith(f"{path}:1: no column {label} (there are ")
    assert "verdict" in str(refused.value) and str(refused.value).endswith("get the file anew")


@pytest.mark.parametrize("name", ["cola", "scitail"])
def test_a_table_without_names_must_have_its_columns(name, published):
    folder = published(name)
    path = folder / next(iter(FILES[name]))
    path.write_text("".join(f"{line}\textra\n" for line in path.read_text().splitlines()))

    with pytest.raises(
        FormatError, match=rf"{path.name}:1: \d columns instead of .*label.*; get the file anew"
    ):
        dataset(name).read("train", folder)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_text_is_refused_with_its_line(name, published):
    folder = published(name)
    path = folder / sorted(FILES[name])[-1]
    split = {"snli": "train", "squad": "train", "story_cloze": "train"}.get(name)
    path.write_bytes(path.read_bytes() + b"caf\xe9\n")
    found = dataset(name)

    with pytest.raises(FormatError, match=rf"{path.name}:\d+: not UTF-8 .*; get the file anew"):
        for each in [split] if split else found.splits:
            found.read(each, folder)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_file_is_refused(name, published):
    folder = published(name)
    for path in FILES[name]:
        (folder / path).write_text("")

    with pytest.raises(FormatError, match="anew"):
        dataset(name).read("train", folder)


@pytest.mark.parametrize("name", ["rte", "cola", "mnli"])
def test_a_secret_label_is_refused_where_labels_are_public(name, published):
    folder = published(name)
    files = list(FILES[name])
    (folder / files[1]).write_bytes((folder / files[-1]).read_bytes())  # the test file for validation

    with pytest.raises(FormatError, match="no column|no label"):
        dataset(name).read("validation", folder)
