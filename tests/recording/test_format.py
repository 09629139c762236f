"""Laws of the format's names and types: what is given comes back bit by bit, what does not fit is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mechlab.recording.format import AXES, FORMAT, VERSION, check_axes, decoded, split_key, stored

NUMBERS = st.sampled_from(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">f4", ">i2"])
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@given(values=NUMBERS.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_dims=3, max_side=4))))
def test_numbers_keep_every_bit(values):
    column = stored(values)
    back = decoded(column.values, is_bool=column.is_bool)
    assert back.tobytes() == values.astype(values.dtype.newbyteorder("<")).tobytes()
    assert back.dtype == values.dtype.newbyteorder("<")


@given(texts=st.lists(TEXT, max_size=5))
def test_text_of_any_script_comes_back(texts):
    column = stored(np.array(texts, dtype=np.str_))
    assert decoded(column.values, is_bool=False).tolist() == texts
    assert column.kind == "str"


def test_text_that_would_be_cut_is_refused():
    with pytest.raises(ValueError, match="NUL characters"):
        stored(np.array(["a\0b"]))


def test_booleans_come_back_as_booleans():
    column = stored(np.array([[True], [False]]))
    assert column.values.dtype == np.uint8
    assert decoded(column.values, is_bool=column.is_bool).tolist() == [[True], [False]]


def test_a_stored_array_is_a_copy():
    values = np.zeros(3)
    column = stored(values)
    values[:] = 7
    assert column.values.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "values",
    [
        np.array([1j]),
        np.array([{}], dtype=object),
        np.array(["2020"], dtype="datetime64[Y]"),
        np.zeros(1, "f8,i4"),
    ],
    ids=["complex", "object", "date", "record"],
)
def test_other_types_are_refused(values):
    with pytest.raises(TypeError, match="cannot be recorded"):
        stored(values)


@pytest.mark.parametrize(
    "key", ["latent", "latent/", "/flow", "items/a", "latent/a/b", "Latent/a", "latent/..", "l/\n"]
)
def test_keys_of_another_form_are_refused(key):
    with pytest.raises(ValueError, match="is not '<quantity>/<site>'"):
        split_key(key)


def test_a_key_is_a_quantity_and_a_site():
    assert split_key("weight/flow.0.subnet.s1.base") == ("weight", "flow.0.subnet.s1.base")


def test_axes_come_from_one_alphabet():
    check_axes(("step", "dim", "dim_other"), ("step", "loss"))
    with pytest.raises(ValueError, match="'patch' is none of"):
        check_axes(("patch",), ())
    with pytest.raises(ValueError, match="one axis twice"):
        check_axes(("step", "dim", "dim"), ())


@pytest.mark.parametrize("name", ["values", "dim", "Loss", "a b"])
def test_a_coordinate_cannot_take_a_name_that_is_in_use(name):
    with pytest.raises(ValueError, match="needs a lower-case name"):
        check_axes(("item", "dim"), (name,))


def test_the_document_names_what_the_program_knows(repository):
    text = (repository / "docs" / "recording.md").read_text()
    assert text.startswith(f"# The recording format, version {VERSION}\n")
    assert f'"{FORMAT}", `version` = {VERSION}' in text
    assert " ".join(AXES[:13]) in text
    assert " ".join(AXES[13:]) in text


def test_what_nobody_can_change_is_stored_without_a_copy():
    values = np.arange(4)
    assert not np.shares_memory(stored(values).values, values)
    values.flags.writeable = False
    assert np.shares_memory(stored(values).values, values)
    assert not np.shares_memory(stored(values[:2]).values, values)  # of whom it is a part, may be written
