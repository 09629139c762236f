import pytest

from figures.page.markup import Markup, element, escaped, table


def test_text_is_escaped_once_and_markup_never_again():
    assert escaped('<b> & "q"') == "&lt;b&gt; &amp; &quot;q&quot;"
    assert escaped(escaped("<b>")) == "&lt;b&gt;"
    assert element("p", ["<i>", Markup("<i>x</i>")]) == "<p>&lt;i&gt;<i>x</i></p>"


def test_attributes_cannot_be_left():
    assert (
        element("a", "x", attributes={"title": '"><script>'}) == '<a title="&quot;&gt;&lt;script&gt;">x</a>'
    )


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\u202e", "\u200f", "\ud800"])
def test_characters_that_change_others_are_replaced(character):
    assert escaped(f"a{character}b") == "a\ufffdb"


@pytest.mark.parametrize("name", ["p onclick", "a><b", "", "A"])
def test_names_of_elements_and_attributes_are_never_text_of_users(name):
    with pytest.raises(ValueError, match="no name of an element"):
        element(name)
    with pytest.raises(ValueError, match="no name of an element"):
        element("p", attributes={name: "x"})


def test_columns_of_words_stand_left_with_their_header():
    made = table(["class", "value", "note"], [["gear", "0.5", "fine"]], caption="numbers")
    assert '<th scope="col" class="text">note</th>' in made
    assert "<td>0.5</td>" in made and '<td class="text">fine</td>' in made
