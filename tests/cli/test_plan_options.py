"""Options of a plan: what follows a site is the site's, what stands before all is everybody's."""

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli.plan_options import PlanCommand, entries_of, one_plan, plan_entries, plan_options
from mechlab.errors import MechlabError
from mechlab.instrument.plan import read_plan

OWN = st.fixed_dictionaries(
    {}, optional={"every": st.integers(1, 9), "dtype": st.just("float16"), "first": st.integers(1, 9)}
)


@given(st.lists(OWN, min_size=1, max_size=4))
def test_what_follows_a_site_belongs_to_it_alone(owns):
    given_ = []
    for number, own in enumerate(owns):
        given_ += [("site", f"s{number}"), *own.items(), ("quantity", "latent")]
    expected = [own | {"site": f"s{number}", "quantity": "latent"} for number, own in enumerate(owns)]
    assert entries_of(given_) == expected


@pytest.mark.parametrize("own", ["every", "at", "log_spaced"])
@pytest.mark.parametrize("common", ["every", "at", "log_spaced"])
def test_a_schedule_of_its_own_takes_the_place_of_the_common_one(own, common):
    order = [(common, 2), ("dtype", "float16"), ("site", "a"), ("quantity", "latent"), (own, 3)]
    (entry,) = entries_of([*order])
    assert entry == {
        "site": "a", "quantity": "latent", "dtype": "float16", own: [3] if own == "at" else 3,
    }  # fmt: skip
    assert read_plan([entry])[0].dtype == "float16"


def test_quantities_are_those_of_the_sites_in_order():
    names = [("site", "a"), ("site", "b"), ("quantity", "latent"), ("quantity", "log_det")]
    assert [entry["quantity"] for entry in entries_of(names)] == ["latent", "log_det"]


def test_the_command_line_keeps_order_types_and_other_options():
    seen = {}

    @click.command(cls=PlanCommand)
    @click.argument("run")
    @click.option("--limit", type=int)
    @plan_options
    def command(run, limit, **words):
        seen.update(run=run, limit=limit, entries=plan_entries(words), rest=words)

    words = "--every=2 --site=a R --limit 7 --quantity q --at 0 --at 5 --site b --dtype float64 --quantity p"
    found = CliRunner().invoke(command, words.split(), catch_exceptions=False)
    assert found.exit_code == 0, found.output
    assert seen == {
        "run": "R",
        "limit": 7,
        "rest": {},
        "entries": [
            {"site": "a", "quantity": "q", "at": [0, 5]},
            {"site": "b", "quantity": "p", "dtype": "float64", "every": 2},
        ],
    }


def test_no_options_are_no_plan_and_a_file_stands_alone(tmp_path):
    assert entries_of([]) == []
    assert one_plan(None, [], option="--plan") is None
    assert one_plan(tmp_path, [], option="--plan") == tmp_path
    with pytest.raises(MechlabError, match=r"--record .* and --site 'a' were both given; write all entries"):
        one_plan(tmp_path, [{"site": "a"}], option="--record")
