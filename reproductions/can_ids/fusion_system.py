"""A fusion as the loop drives it: a network of values over 21 weights, and beside it what it has to beat.

A step sees some windows, takes for each the weight of the highest value (or, for a share epsilon, one at
random), and moves the value of that weight towards its reward: a contextual bandit. With gamma above 0 the
highest value of the same window is added, by a target network: the public DQN, whose next state is the state.
Windows are drawn from the data anew, where the public code draws them from a buffer of the same windows.

Beside it, on the same windows: a network that is told the label (MLP), and the best single weight for all.
Sources: arXiv:2508.04845; Mnih et al. 2015 (target network, Huber loss).
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mechlab.train.stage import Loss, ParameterGroup, Scope, Stage
from reproductions.can_ids.fusion_config import FusionConfig
from reproductions.can_ids.fusion_reward import HALF, fused, rewards
from reproductions.can_ids.fusion_state import SIZE, anomaly, probability

WEIGHTS = 21  # alpha in 0, 0.05, ..., 1


class Fusion(nn.Module):
    """The system. `states` and `labels` are of the windows that the loop's batches number."""

    weights: Tensor
    single: Tensor
    taken: Tensor
    score_unit = "1"

    def __init__(
        self,
        config: FusionConfig,
        states: Float[Tensor, "window 15"],
        labels: Int[Tensor, " window"],
        *,
        seed: int,
    ) -> None:
        super().__init__()
        self.config, self.states, self.labels = config, states, labels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.values = _network(config, outputs=WEIGHTS)
            self.mlp = _network(config, outputs=2)
        for name, value in self.values.state_dict().items() if config.gamma else ():
            self.register_buffer(_target(name), value.clone())
        self.register_buffer("weights", torch.linspace(0, 1, WEIGHTS))
        self.register_buffer("single", torch.tensor(HALF))  # the best weight for all
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))  # steps

    def add_task(self, task: int) -> None:
        """Everything is there: there is one task. ValueError for another one."""
        if task:
            raise ValueError(f"task {task}: a fusion has one task, number 0")

    def prepare(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Choose the best single weight: of the most right calls, and of those nearest to one half."""
        seen, said, truth = anomaly(self.states), self._probability(self.states), self.labels == 1
        alphas = self.weights.cpu()
        right = torch.stack(
            [((fused(seen, said, one.expand_as(seen)) > HALF) == truth).sum() for one in alphas]
        )
        best = torch.where(right == right.max(), (alphas - HALF).abs(), torch.inf)
        self.single.fill_(self.weights[int(best.argmin())])

    def stage(self, task: int) -> Stage:
        """Return the training of values and MLP; the target network, of buffers, follows by itself."""
        names, config = tuple(name for name, _ in self.named_parameters()), self.config
        scopes: dict[str, Scope] = dict.fromkeys(names, "shared")
        group = ParameterGroup(
            parameters=names, learning_rate=config.learning_rate, weight_decay=config.weight_decay
        )
        return Stage(
            scopes=scopes,
            groups=(group,),
            epochs=config.epochs,
            batch_size=config.batch_size,
            unit="a window",
        )

    def loss(self, batch: Float[Tensor, "batch row column dim"], *, task: int) -> Loss:
        """Return the losses of values and MLP, which share no parameter."""
        chosen = batch[:, 0, 0, 0].long().cpu()
        state, labels = (one[chosen].to(batch.device) for one in (self.states, self.labels))
        values = self.values(state)
        action = self._action(values.detach())
        reward = rewards(
            anomaly(state), self._probability(state), state[:, -1], self.weights[action], labels,
            judges_alpha=self.config.judges_alpha,
        )  # fmt: skip
        wanted = reward + self._beyond(state)
        of_values = functional.smooth_l1_loss(values.gather(1, action[:, None])[:, 0], wanted)
        of_mlp = functional.cross_entropy(self.mlp(state), labels)
        terms = {"value_loss": of_values, "mlp_loss": of_mlp, "reward": reward.mean()}
        return Loss(total=of_values + of_mlp, terms=terms)

    def _action(self, values: Float[Tensor, "batch 21"]) -> Int[Tensor, " batch"]:
        best = values.argmax(dim=1)
        drawn = torch.randint(WEIGHTS, best.shape, device=best.device)
        return torch.where(torch.rand(best.shape, device=best.device) < self.config.epsilon, drawn, best)

    @torch.no_grad()
    def _beyond(self, state: Float[Tensor, "batch 15"]) -> Float[Tensor, " batch"] | float:
        """Return what the same window is worth once more, by the target network."""
        if not self.config.gamma:
            return 0.0
        now = self.values.state_dict()
        if self.training:
            if int(self.taken) % self.config.target_every == 0:
                for name, value in now.items():
                    self.get_buffer(_target(name)).copy_(value)
            self.taken += 1
        held = {name: self.get_buffer(_target(name)) for name in now}
        self.values.eval()  # the target drops nothing
        worth = torch.func.functional_call(self.values, held, (state,)).amax(dim=1)
        self.values.train(self.training)
        return self.config.gamma * worth

    def _probability(self, state: Float[Tensor, "window 15"]) -> Float[Tensor, " window"]:
        return probability(state, is_twice=self.config.double_softmax)

    def finish_task(self, task: int, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Nothing is kept of the windows."""

    @torch.inference_mode()
    def scores(self, states: Float[Tensor, "window 15"]) -> dict[str, Float[Tensor, " window"]]:
        """Return scores in [0, 1] by each way to fuse; above one half is an attack."""
        self.eval()
        seen, said = anomaly(states), self._probability(states)
        learned = self.weights[self.values(states).argmax(dim=1)]
        return {
            "agent": fused(seen, said, learned),
            "weighted": fused(seen, said, self.single.expand_as(seen)),
            "mlp": torch.softmax(self.mlp(states), dim=1)[:, 1],
        }

    def patch_scores(
        self, batch: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column"]:
        """Return the agent's score of each of the windows of these numbers: an image of one patch."""
        chosen = batch[:, 0, 0, 0].long().cpu()
        return self.scores(self.states[chosen].to(batch.device))["agent"][:, None, None]

    def task_distances(
        self, batch: Float[Tensor, "batch row column dim"], *, router: str
    ) -> Float[Tensor, "batch task"]:
        """Return 0 for each window: there is one task."""
        return batch.new_zeros((len(batch), 1))


def _target(name: str) -> str:
    return f"target_{name.replace('.', '_')}"


def _network(config: FusionConfig, *, outputs: int) -> nn.Sequential:
    found: list[nn.Module] = []
    for number in range(config.layers):
        width = config.width if number else SIZE
        found += [
            nn.Linear(width, config.width),
            nn.LayerNorm(config.width),
            nn.ReLU(),
            nn.Dropout(config.dropout),
        ]
    return nn.Sequential(*found, nn.Linear(config.width, outputs))
