"""One place where noise is added: its bank, its learned std, and the controls that a claim needs.

The bank and the flag that it is built are buffers, so a checkpoint holds them: in the public code neither is,
and a resumed training goes on without noise. Asked for noise without a bank, this one raises. `trace` keeps
the mean std of each epoch, and the mean weights of the influence and of the distance. Source: notes 000.
"""

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from reproductions.rd_noising.deviation import EmbeddingDeviation, FeatureDeviation
from reproductions.rd_noising.draws import Draws
from reproductions.rd_noising.influence import Influence, distance_gradient, mean_difference, neighbours

Kind = Literal["adaptive", "isotropic", "shuffled"]
Maps = Float[Tensor, "batch dim row column"]
PLACES = ("influence", "distance", "std", "start")  # to look; the last from a checkpoint alone


class AdaptiveNoise(nn.Module):
    """Noise on the maps of one layer. Without bank until `keep`, or until a checkpoint is loaded."""

    bank: Float[Tensor, "kept dim"]
    is_built: Bool[Tensor, ""]
    trace: Float[Tensor, "epoch 4"]

    def __init__(
        self,
        dim: int,
        *,
        deviation: FeatureDeviation | EmbeddingDeviation,
        count: int | None,
        kind: Kind,
        layer: int,
        epochs: int,
    ) -> None:
        """Take the channels, what gives the std, and the neighbours (None: the whole bank)."""
        super().__init__()
        self.deviation, self.count, self.kind, self.layer = deviation, count, kind, layer
        self.register_buffer("bank", torch.zeros(0, dim))
        self.register_buffer("is_built", torch.tensor(False))
        self.register_buffer("trace", torch.zeros(epochs, 4, dtype=torch.float64))  # steps, then sums
        self.known: dict[int, Tensor] = {}  # neighbours of images whose features are frozen: found once
        for place in PLACES:
            self.add_module(place, nn.Identity())

    def keep(self, patches: Float[Tensor, "kept dim"]) -> None:
        """Store the bank.

        Raises:
            MechlabError: fewer patches than neighbours are asked for.
        """
        neighbours(patches[:1], patches, count=self.count)
        self.bank, self.is_built = patches.clone(), torch.ones_like(self.is_built)
        self.known.clear()

    def found(self, maps: Maps, *, items: tuple[int, ...] | None = None) -> Influence:
        """Return what the bank says of each place, images, rows, columns; `items` are remembered."""
        if not bool(self.is_built):
            raise ValueError("noise without a bank: prepare comes first, or a checkpoint that holds one")
        patches = maps.detach().movedim(1, -1).flatten(1, 2)  # batch, place, dim
        names = [None] * len(patches) if items is None else list(items)
        near = torch.cat([self._near(own, name) for own, name in zip(patches, names, strict=True)])
        is_first = isinstance(self.deviation, FeatureDeviation)
        return (mean_difference if is_first else distance_gradient)(patches.flatten(0, 1), self.bank, near)

    def _near(self, own: Float[Tensor, "place dim"], name: int | None) -> Int[Tensor, "place near"]:
        """Return the neighbours of one image's places: an image alone, so its batch moves no bit of them."""
        if name is None:
            return neighbours(own, self.bank, count=self.count)
        if name not in self.known:
            self.known[name] = neighbours(own, self.bank, count=self.count).int()
        return self.known[name].long()

    def forward(self, maps: Maps, *, draws: Draws, is_frozen: bool) -> Maps:
        """Return the maps with noise on them; `is_frozen`: an image's maps are the same in every step.

        Raises ValueError without a bank.
        """
        found = self.found(maps, items=tuple(int(item) for item in draws.items) if is_frozen else None)
        std = self._shown(found, maps, draws)
        self._note(std, epoch=draws.epoch)
        return maps + draws.normal(tuple(maps.shape[1:]), layer=self.layer).to(maps) * std

    @torch.no_grad()
    def look(self, maps: Maps, *, draws: Draws) -> None:
        """Let influence, distance, std, and std at the start pass their places; nothing else comes of it."""
        found = self.found(maps)
        self._shown(found, maps, draws)
        self.start(self._controlled(self.deviation.at_start(found), maps, draws))

    def _shown(self, found: Influence, maps: Maps, draws: Draws) -> Maps:
        """Return the std; it passes its place, as do the influence and the distance."""
        self.influence(self._as_maps(found.channels, maps))
        self.distance(self._as_maps(found.distance[:, None], maps))
        return self.std(self._controlled(self.deviation(found), maps, draws))  # type: ignore[no-any-return]

    def _controlled(self, std: Float[Tensor, "patch dim"], maps: Maps, draws: Draws) -> Maps:
        """Return the std as maps: as it is, its mean everywhere, or given to other places and channels."""
        found = self._as_maps(std, maps)
        if self.kind == "adaptive":
            return found
        if self.kind == "isotropic":
            return found.mean().expand_as(found)
        places, channels = (
            draws.orders(count, layer=self.layer, number=number).argsort(dim=1).to(maps.device)
            for number, count in enumerate((maps.shape[2] * maps.shape[3], maps.shape[1]))
        )
        flat = found.flatten(2)  # batch, dim, place
        flat = flat.gather(2, places[:, None].expand_as(flat)).gather(1, channels[:, :, None].expand_as(flat))
        return flat.view_as(found)

    def _as_maps(
        self, values: Float[Tensor, "patch any"], maps: Maps
    ) -> Float[Tensor, "batch any row column"]:
        batch, _, rows, columns = maps.shape
        return values.view(batch, rows, columns, -1).movedim(-1, 1)

    def _note(self, std: Maps, *, epoch: int) -> None:
        """Add a step to its epoch's row of the trace."""
        if epoch >= len(self.trace):
            return  # beyond what the training was planned for: a loss that is asked for by hand
        weights = [parameter.detach().double().mean() for parameter in self.deviation.parameters()]
        row = [torch.ones_like(weights[0]), std.detach().double().mean(), *weights]
        self.trace[epoch] += torch.stack(row)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:  # noqa: ANN401
        """Take the number of patches from a checkpoint, which is known nowhere else."""
        stored = state_dict.get(f"{prefix}bank")
        if stored is not None and stored.ndim == 2 and stored.shape[1] == self.bank.shape[1]:
            self.bank = torch.empty(stored.shape, dtype=self.bank.dtype, device=self.bank.device)
        self.known.clear()
        super()._load_from_state_dict(state_dict, prefix, *rest)
