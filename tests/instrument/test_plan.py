"""Plans and schedules: what is accepted, what is refused, and that reading them loads no torch."""

import subprocess
import sys

import pytest

from mechlab.errors import MechlabError
from mechlab.instrument.catalog import QUANTITIES, REDUCTIONS
from mechlab.instrument.plan import read_plan
from mechlab.instrument.schedule import is_due
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
        pytest.param([{"site": "*", "quantity": "latent", "every": 0}], "every = 0", id="schedule"),
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


def test_schedules_fire_when_they_say():
    assert [step for step in range(10) if is_due(step, every=3)] == [0, 3, 6, 9]
    assert [step for step in range(70) if is_due(step, every="powers-of-two")] == [0, 1, 2, 4, 8, 16, 32, 64]
    assert all(is_due(step, every=1) for step in range(5))


@pytest.mark.parametrize("every", [0, -1, "often"])
def test_a_schedule_that_is_none_is_refused(every):
    with pytest.raises(MechlabError, match="give a number of steps from 1 on, or 'powers-of-two'"):
        is_due(0, every=every)


def test_steps_before_the_first_are_refused():
    with pytest.raises(ValueError, match="counted from 0"):
        is_due(-1, every=1)


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
