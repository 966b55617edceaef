"""The released code's division of the stories, and stories that are none."""

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from pipeline.errors import FormatError
from pipeline.finetune.datasets import story_cloze
from tests.pipeline.finetune.published import stories


def write(folder, text):
    path = folder / "rocstories" / story_cloze.VALIDATION
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_stories_are_divided_as_scikit_learn_divides_them_for_the_released_code(tmp_path):
    write(tmp_path, stories(1_871))
    found = story_cloze.Config().build()
    train, validation = train_test_split(np.arange(1_871), test_size=374, random_state=story_cloze.SEED)

    for split, numbers in (("train", train), ("validation", validation)):
        examples = found.read(split, tmp_path)
        assert [example.id for example in examples.examples] == [f"story-{number}" for number in numbers]
        assert "published" not in examples.told


def test_a_story_is_its_four_sentences_and_two_endings(tmp_path):
    write(tmp_path, stories(10))
    example = story_cloze.Config().build().read("validation", tmp_path).examples[0]
    number = int(example.id.removeprefix("story-"))

    assert example.context == f'Ann, {number}, said "go". She rowed. It rained. She was wet.'
    assert (example.question, example.answers) == ("", ("She dried.", "She flew."))
    assert example.label == number % 2 and example.place.endswith(f".csv:{number + 2}")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("AnswerRightEnding", "Answer"), ":1: no column AnswerRightEnding"),
        (("She flew.,1", "She flew.,3"), ":2: AnswerRightEnding '3' is neither 1 nor 2"),
        (("She dried.,She flew.,1", "She flew.,1"), ":2: 7 columns instead of 8"),
        (("She rowed.", " "), ":2: a text is empty"),
        (("She dried.", ""), ":2: a text is empty"),
    ],
)
def test_a_story_that_is_none_is_refused_with_its_line(tmp_path, change, fault):
    path = write(tmp_path, stories(10).replace(*change, 1))
    found = story_cloze.Config().build()

    with pytest.raises(FormatError) as refused:
        for split in ("train", "validation"):
            found.read(split, tmp_path)
    assert str(refused.value).startswith(f"{path}{fault}")
