"""Plans and schedules: what is accepted, what is refused, and that reading them loads no torch."""

import itertools
import subprocess
import sys

import pytest

from mechlab.errors import MechlabError
from mechlab.instrument.catalog import QUANTITIES, REDUCTIONS
from mechlab.instrument.plan import read_plan
from mechlab.instrument.schedule import check_fires, is_due
from mechlab.specs import PlanEntry
from mechlab.systems import load


def test_a_plan_in_python_and_in_yaml_is_the_same(tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(
        "- {site: 'flow.*', quantity: latent, every: 4, dtype: float16}\n- {site: '*', quantity: weight}\n"
    )
    entry = {"site": "flow.*", "quantity": "latent", "every": 4, "dtype": "float16"}
    assert (
        read_plan(file) == read_plan([entry, PlanEntry(site="*", quantity="weight")]) == read_plan(str(file))
    )


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        pytest.param([], "has no entry", id="empty"),
        pytest.param(
            [{"site": "*", "quantity": "latnt"}],
            "no quantity named 'latnt'. Did you mean 'latent'",
            id="quantity",
        ),
        pytest.param([{"site": "*", "quantity": "latent", "evry": 2}], "Did you mean 'every'", id="key"),
        pytest.param(
            [{"site": "*", "quantity": "latent", "every": 0}], "'every' = 0 is not allowed", id="schedule"
        ),
        pytest.param([{"site": "*", "quantity": "latent", "dtype": "int8"}], "'dtype' = 'int8'", id="dtype"),
        pytest.param([{"quantity": "latent"}], "'site'", id="no site"),
        pytest.param(
            [{"site": "*", "quantity": "log_det", "reduction": "total"}], "Known: sum", id="reduction"
        ),
    ],
)
def test_a_plan_that_is_wrong_is_one_sentence(plan, sentence):
    with pytest.raises(MechlabError, match=sentence):
        read_plan(plan)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("", "has no entry", id="empty"),
        pytest.param("site: x", "holds a dict", id="no list"),
        pytest.param("- flow.*", "write a mapping", id="not a mapping"),
        pytest.param("- [", "not valid YAML", id="broken"),
        pytest.param("- !!python/object/apply:os.getcwd []", "not valid YAML", id="code is not run"),
    ],
)
def test_a_plan_file_that_is_wrong_is_one_sentence(tmp_path, text, sentence):
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(MechlabError, match=sentence) as caught:
        read_plan(file)
    assert "\n" not in str(caught.value)


def test_a_plan_file_that_is_absent_is_told(tmp_path):
    with pytest.raises(MechlabError, match="does not exist"):
        read_plan(tmp_path / "none.yaml")


def entry(**schedule):
    return PlanEntry(site="*", quantity="weight", **schedule)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        pytest.param({}, list(range(20)), id="every step"),
        pytest.param({"every": 6}, [0, 6, 12, 18], id="every"),
        pytest.param({"first": 3}, [0, 1, 2], id="first"),
        pytest.param({"every": 2, "first": 5}, [0, 2, 4], id="every and first"),
        pytest.param({"at": [7, 3]}, [3, 7], id="at"),
        pytest.param({"log_spaced": 1}, [0, 1, 2, 4, 8, 16], id="powers of two"),
        pytest.param({"log_spaced": 2}, [0, 1, 2, 3, 4, 6, 8, 11, 16], id="two a doubling"),
        pytest.param({"log_spaced": 1, "first": 8}, [0, 1, 2, 4], id="log-spaced and first"),
    ],
)
def test_schedules_fire_when_they_say(schedule, expected):
    assert [step for step in range(20) if is_due(step, entry(**schedule))] == expected


def test_a_log_spaced_schedule_has_as_many_steps_in_each_doubling():
    for number in (1, 3, 5):
        due = [step for step in range(2**12, 2**14) if is_due(step, entry(log_spaced=number))]
        assert len(due) == 2 * number
        ratios = [later / earlier for earlier, later in itertools.pairwise(due)]
        assert max(ratios) / min(ratios) < 1.001


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        pytest.param({"every": 2, "at": [4]}, "has both at and every; give one", id="two kinds"),
        pytest.param({"log_spaced": 1, "at": [4]}, "has both at and log_spaced", id="two other kinds"),
        pytest.param({"at": []}, r"has at = \[\], so no step at all; name steps", id="no step"),
        pytest.param({"at": [4, 9], "first": 4}, "no step of at = .4, 9. is below first = 4", id="late"),
    ],
)
def test_a_schedule_that_never_fires_or_contradicts_itself_is_refused(schedule, sentence):
    with pytest.raises(MechlabError, match=sentence):
        read_plan([entry(**schedule)])


def test_a_schedule_that_lies_behind_the_end_is_refused():
    check_fires([entry(at=[3, 99]), entry(every=50)], steps=4)
    check_fires([entry(at=[3])], steps=0)  # of no step nothing is asked
    with pytest.raises(MechlabError, match=r"never fires: at = \[4\], and there are 4 steps"):
        check_fires([entry(at=[4])], steps=4)


def test_absent_schedules_leave_a_plan_as_it_was_before_they_were_known():
    assert entry(every=2).model_dump() == {
        "site": "*",
        "quantity": "weight",
        "every": 2,
        "dtype": "float32",
        "reduction": None,
    }
    assert entry(at=[1]).model_dump(mode="json")["at"] == [1]


@pytest.mark.parametrize(
    ("reduction", "sentence"),
    [
        pytest.param("subsample", "subsample takes a number of places, e.g. subsample:64", id="no number"),
        pytest.param("subsample:0", "takes a number of places", id="none"),
        pytest.param("moments:3", "moments takes no number", id="a number too many"),
        pytest.param("momnts", "Did you mean 'moments'", id="unknown"),
    ],
)
def test_a_reduction_that_is_none_is_refused(reduction, sentence):
    with pytest.raises(MechlabError, match=sentence):
        read_plan([{"site": "*", "quantity": "activation", "reduction": reduction}])


def test_steps_before_the_first_are_refused():
    with pytest.raises(ValueError, match="counted from 0"):
        is_due(-1, entry())


def test_every_quantity_of_the_catalog_exists_and_names_its_reductions():
    assert {entry.name for entry in QUANTITIES} == set(REDUCTIONS)
    assert all(callable(load(entry.target)) for entry in QUANTITIES)


def test_reading_a_plan_loads_no_torch():
    code = (
        "import sys; from mechlab.instrument.plan import read_plan; from mechlab.instrument.catalog "
        "import QUANTITIES;"
        "read_plan([{'site': '*', 'quantity': 'latent'}]); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
