from pipeline.data.words import split_words


def test_words_keep_inner_marks_and_punctuation_stands_alone():
    text = "Don't call os.path, it's log-linear... (x_1)"

    expected = ["Don't", "call", "os.path", ",", "it's", "log-linear", "...", "(", "x_1", ")"]
    assert list(split_words(text)) == expected
