from pipeline.data.datasheet import escaped, table


def test_a_page_cannot_add_markup_to_the_datasheet():
    text = escaped("<script>alert(1)</script> [x](javascript:y) | `code`\n# Title")

    assert "<" not in text
    assert "\n" not in text
    assert "\\[x\\]\\(javascript" in text
    assert "\\|" in text
    assert "\\#" in text


def test_a_table_has_a_row_for_each_record():
    lines = table(("name", "number"), [("a|b", 12345), ("c", 0.5)])

    assert lines == ["| name | number |", "| --- | ---: |", "| a\\|b | 12,345 |", "| c | 0.5 |"]
