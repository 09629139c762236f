"""Laws of the routers (M15, M48) on a system of three tasks that tells a likelihood and two terms."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.runs.router import Router
from mechlab.train.rejection import accepting, rejected, rejection_rates
from mechlab.train.routing import Routing
from mechlab.train.scoring import score
from mechlab.train.session import plan_of, reevaluate, restore

CPU = torch.device("cpu")
TASKS = 3


class Told(torch.nn.Module):
    """Means of tasks for the distance, other centres for the likelihood, and terms of its own."""

    def __init__(self, *, shift=0.0):
        super().__init__()
        places = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
        self.means, self.experts = places + shift, places.flip(1) * 0.7 + shift
        self.asked = []

    def not_asked(self, *words, **others):
        raise AssertionError("a router asks for distances and scores alone")

    add_task = prepare = stage = loss = finish_task = not_asked

    def task_distances(self, batch, *, router):
        if router == "log_det":
            return torch.tensor([[0.0, 9.0, -9.0]], dtype=torch.float64).expand(len(batch), -1)
        if router == "entropy":
            return torch.tensor([[5.0, 0.0, 1.0]], dtype=torch.float64).expand(len(batch), -1)
        return torch.cdist(batch.double().mean(dim=(1, 2)), self.means)

    def patch_scores(self, batch, *, task):
        self.asked.append((task, len(batch)))
        return (batch.double() - self.experts[task]).square().sum(dim=-1)


@pytest.fixture
def batch(rng):
    return torch.from_numpy(rng.normal(1, 2, (40, 2, 2, 2)).astype("float32"))


def distances(words, batch, *, system=None, tasks=TASKS):
    return Routing(Router.read(words)).distances(system or Told(), batch, tasks=tasks)


def routes(words, batch, **others):
    return distances(words, batch, **others).argmin(dim=1).tolist()


def test_all_candidates_are_pure_likelihood(batch):
    assert torch.equal(distances("two-stage:3", batch), distances("likelihood", batch))
    assert torch.equal(distances("two-stage:9", batch), distances("likelihood", batch))


def test_one_candidate_is_the_prototype(batch):
    assert routes("two-stage:1", batch) == routes("mahalanobis", batch) != routes("likelihood", batch)


def test_the_second_stage_chooses_by_likelihood_among_the_nearest(batch):
    near, told = distances("mahalanobis", batch), distances("likelihood", batch)
    expected = [min(row.argsort()[:2].tolist(), key=lambda task: float(told[index, task]))
                for index, row in enumerate(near)]  # fmt: skip
    found = routes("two-stage:2", batch)
    assert found == expected
    assert found != routes("mahalanobis", batch)
    assert found != routes("likelihood", batch)


def test_the_likelihood_is_the_mean_over_the_patches_of_each_image(batch):
    system = Told()
    expected = torch.stack(
        [((batch.double() - centre) ** 2).sum(-1).mean(dim=(1, 2)) for centre in system.experts], dim=1
    )
    torch.testing.assert_close(distances("likelihood", batch, system=system), expected)


@pytest.mark.parametrize("words", ["two-stage:2", "likelihood", "mahalanobis+1*log_det"])
def test_each_image_is_routed_as_if_it_were_alone(batch, words):
    assert routes(words, batch) == [routes(words, batch[[index]])[0] for index in range(len(batch))]


def test_an_expert_is_asked_only_about_images_that_came_near(batch):
    system = Told()
    distances("two-stage:2", batch, system=system)
    assert sum(images for _, images in system.asked) == 2 * len(batch)


def test_a_term_of_weight_zero_is_the_base(batch):
    for term in ("log_det", "entropy"):
        silent = Routing(Router(base="mahalanobis", term=term, weight=0.0))
        found = silent.distances(Told(), batch, tasks=TASKS).argmin(dim=1).tolist()
        assert found == routes("mahalanobis", batch)


def test_terms_have_their_closed_form(batch):
    plain = distances("mahalanobis", batch)
    log_det = plain**2 + 2 * torch.tensor([0.0, 9.0, -9.0])
    torch.testing.assert_close(distances("mahalanobis+2*log_det", batch), log_det)
    entropy = plain + 2 * torch.tensor([5.0, 0.0, 1.0])
    torch.testing.assert_close(distances("euclidean+2*entropy", batch), entropy)
    assert routes("mahalanobis+2*log_det", batch) != routes("mahalanobis", batch)


@pytest.mark.parametrize("words", ["mahalanobis", "two-stage:2", "likelihood", "mahalanobis+1*log_det"])
def test_a_common_shift_of_all_features_changes_no_route(batch, words):
    assert routes(words, batch + 8, system=Told(shift=8.0)) == routes(words, batch)


def test_tasks_to_come_are_not_asked(batch):
    system = Told()
    assert distances("two-stage:2", batch, system=system, tasks=1).shape == (40, 1)
    assert {task for task, _ in system.asked} == {0}


@dataclass
class Given:
    """The training normals of each task, and those that were held out of it."""

    normals: tuple
    held: dict = field(default_factory=dict)
    tasks: tuple = (("a",), ("b",))
    image_size: int = 64

    def fitting(self, task):
        return self.normals[task]

    def held_out(self, class_name):
        return self.held[class_name]


def test_one_prototype_a_task_is_euclidean_and_two_find_a_split_task(rng):
    ends = rng.normal([[-6.0, 0.0]], 0.1, (8, 1, 1, 2)), rng.normal([[6.0, 0.0]], 0.1, (8, 1, 1, 2))
    split, middle = np.concatenate(ends), rng.normal([[3.0, 1.0]], 0.1, (8, 1, 1, 2))
    normals = Given((split.astype("float32"), middle.astype("float32")))
    system = Told()
    system.means = torch.from_numpy(
        np.stack([task.astype(np.float64).mean(axis=(0, 1, 2)) for task in normals.normals])
    )
    batch = torch.from_numpy(normals.normals[0])
    one, two = (Routing.of(f"prototypes:{count}", normals, tasks=2) for count in (1, 2))
    torch.testing.assert_close(
        one.distances(system, batch, tasks=2), system.task_distances(batch, router="euclidean")
    )
    assert two.distances(system, batch, tasks=2).argmin(dim=1).tolist() == [0] * 16
    assert (one.distances(system, batch, tasks=2).argmin(dim=1) == 1).any()
    with pytest.raises(MechlabError, match="prototypes:9 asks for more than task 1 can give"):
        Routing.of("prototypes:9", normals, tasks=2)


@pytest.mark.parametrize(
    "words",
    ["two-stage:2:euclidean", "likelihood", "entropy", "prototypes:2", "mahalanobis+1*log_det", "gate:joint"],
)
def test_every_router_evaluates_a_run(small_run, words):
    found = reevaluate(small_run, settings={"router": words})
    assert found["spec"]["router"] == words
    assert 0 <= found["mean"]["routing_accuracy"] <= 1


def test_two_stages_of_a_run_meet_likelihood_and_prototype(small_run):
    plan = plan_of(small_run)
    system = restore(plan, checkpoint=1, device=CPU)
    features = plan.inputs.features("nut", "test").values
    found = {
        words: score(system, features, task=1, tasks=2, router=words, device=CPU)
        for words in ("two-stage:1", "mahalanobis", "two-stage:2", "likelihood")
    }
    assert np.array_equal(found["two-stage:1"].routes, found["mahalanobis"].routes)
    assert np.array_equal(found["two-stage:2"].distances, found["likelihood"].distances)


def clusters(rng, *, away=6.0):
    """Normals of two tasks, held-out ones of the same kind, and images of neither."""
    kinds = [rng.normal([[-away, 0.0]], 1.0, (60, 1, 1, 2)), rng.normal([[away, 0.0]], 1.0, (60, 1, 1, 2))]
    kinds = [kind.astype("float32") for kind in kinds]
    normals = Given(tuple(kind[:20] for kind in kinds), {"a": kinds[0][20:], "b": kinds[1][20:]})
    strange = torch.from_numpy(rng.normal([[0.0, 30.0]], 1.0, (25, 1, 1, 2)).astype("float32"))
    system = Told()
    system.means = torch.tensor([[-away, 0.0], [away, 0.0]], dtype=torch.float64)
    return normals, system, strange


@pytest.mark.parametrize(("words", "known"), [("gate", [0, 1]), ("gate:sequential", [1, 1])])
def test_a_gate_routes_what_it_has_learned_and_forgets_in_sequence(rng, words, known):
    normals, system, _ = clusters(rng)
    routing = Routing.of(words, normals, tasks=2)
    for task, route in enumerate(known):
        batch = torch.from_numpy(normals.fitting(task))
        found = routing.distances(system, batch, tasks=2)
        assert found.shape == (20, 2)
        assert (found.argmin(dim=1) == route).float().mean() > 0.9


@pytest.mark.parametrize("base", ["euclidean", "gate", "prototypes:2", "likelihood"])
def test_rejection_changes_no_route_and_its_share_is_that_of_held_out_normals(rng, base):
    normals, system, _ = clusters(rng)
    plain, rejecting = (Routing.of(words, normals, tasks=2) for words in (base, f"{base}/reject:0.2"))
    batch = torch.from_numpy(normals.held["a"])
    assert torch.equal(plain.distances(system, batch, tasks=2), rejecting.distances(system, batch, tasks=2))
    accepted = accepting(rejecting, system, normals, tasks=2, device=CPU)
    own = accepted.distances(system, batch, tasks=2).numpy()
    refused = rejected(accepted, own, np.zeros(len(own), dtype=np.int64))
    assert refused.mean() == pytest.approx(7 / 40)  # the 8th of 41 exchangeable ones is the threshold
    assert accepting(plain, system, normals, tasks=2, device=CPU).limits == ()
    assert rejected(plain, own, np.zeros(len(own), dtype=np.int64)) is None


def test_each_task_accepts_up_to_its_own_limit():
    routing = Routing(Router.read("euclidean/reject:0.1"), limits=(1.0, 10.0))
    distances = np.array([[2.0, 50.0], [50.0, 2.0], [1.0, 50.0]])
    assert rejected(routing, distances, np.array([0, 1, 0])).tolist() == [True, False, False]


def test_images_of_no_task_are_rejected(rng):
    normals, system, strange = clusters(rng)
    routing = Routing.of("euclidean/reject:0.05", normals, tasks=2)
    routing = accepting(routing, system, normals, tasks=2, device=CPU)
    away = routing.distances(system, strange, tasks=2).numpy()
    assert rejected(routing, away, away.argmin(axis=1)).all()
    rates = rejection_rates(np.array([True, False, True]), np.array([0, 0, 1]))
    assert rates == {"rejected_normal": 0.5, "rejected_defective": 1.0}
    assert rejection_rates(np.array([True]), np.array([1]))["rejected_normal"] is None


def test_rejection_needs_held_out_normals(rng):
    normals, system, _ = clusters(rng)
    normals.held["b"] = normals.held["b"][:0]
    with pytest.raises(MechlabError, match="task 1 has none; train with --set holdout"):
        accepting(Routing.of("euclidean/reject:0.1", normals, tasks=2), system, normals, tasks=2, device=CPU)


def test_a_run_tells_how_much_its_router_rejects(small_run):
    plain, rejecting = (reevaluate(small_run, settings={"router": words})
                        for words in ("mahalanobis", "mahalanobis/reject:0.3"))  # fmt: skip
    for name, metrics in rejecting["metrics"].items():
        assert 0 <= metrics["rejected_normal"] <= 1
        assert {key: metrics[key] for key in plain["metrics"][name]} == plain["metrics"][name]
    assert "rejected_normal" not in plain["mean"]
    assert reevaluate(small_run, settings={"router": "mahalanobis/reject:0"})["spec"] == plain["spec"]
