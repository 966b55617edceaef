import pytest

from pipeline.data.wiki.markup import plain_text

LINKED = "'''Rome''' is the [[capital city|capital]] of [[Italy]]."


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        (LINKED, "Rome is the capital of Italy."),
        ("It fell.<ref name=a>Gibbon, ''[[Decline]]''</ref> It rose.<ref name=a />", "It fell. It rose."),
        ("{{Infobox|a={{lang|la|Roma}}|b=[[x]]}}Rome {{convert|5|km}}fell", "Rome fell"),
        ("A\n{| class=x\n| cell {{x|{|}}\n|}\nB", "A\n\nB"),
        ("A\n{|\n{|\n| a\n|}\n|}\nB", "A\n\nB"),
        ("[[File:R.jpg|thumb|The [[Forum]], from [[Nero|Nero's]] time]]Rome", "Rome"),
        ("Rome[[Category:Cities]][[fr:Rome]]", "Rome"),
        ("[[:Category:Cities|cities]] and [[Star Wars: Episode IV]]", "cities and Star Wars: Episode IV"),
        ("see [http://x.org/y the page] or [//x.org]", "see the page or "),
        ("== History ==\n* one\n*# two", "History\none\ntwo"),
        ("Rome<!-- not\nshown --> &amp; all<br />that__NOTOC__", "Rome & allthat"),
        ("<math>\\sum_{i}</math>of <nowiki>x</nowiki>", "of x"),
        ("an open {{brace and a ]] bracket", "an open {{brace and a ]] bracket"),
        ("a <ref>{{never closed</ref> b }} c", "a  b }} c"),
        ("", ""),
    ],
)
def test_only_running_text_is_left(wikitext: str, text: str):
    assert plain_text(wikitext) == text


@pytest.mark.timeout(20)
@pytest.mark.parametrize("tail", ["", "</ref>", "b"])
@pytest.mark.parametrize("mark", ["{{", "[[", "{|\n", "<ref>", "<!--", "[//x", "=", " ", "{{a|[[", "<a "])
def test_markup_that_never_ends_costs_time_in_proportion(mark: str, tail: str):
    assert plain_text("a" + mark * 30_000 + tail * 30_000)  # in the square of that, minutes
