"""A stage's curriculum: an epoch visits what it names, and nothing else changes."""

import numpy as np

from mechlab.train.phases import batches


class Evens:
    """Visits the even items, and in epoch 1 the first four of them."""

    def visited(self, epoch):
        return np.arange(0, 20, 2)[: 4 if epoch else None]


def test_an_epoch_visits_what_its_curriculum_names():
    for epoch, expected in ((0, np.arange(0, 20, 2)), (1, np.array([0, 2, 4, 6]))):
        found = batches(20, size=3, seed=0, task=0, epoch=epoch, curriculum=Evens())
        assert np.array_equal(np.sort(np.concatenate(found)), expected)


def test_the_order_is_that_without_a_curriculum():
    class Everything:
        def visited(self, epoch):
            return np.arange(20)

    plain = batches(20, size=3, seed=0, task=0, epoch=2)
    found = batches(20, size=3, seed=0, task=0, epoch=2, curriculum=Everything())
    assert all(np.array_equal(one, two) for one, two in zip(plain, found, strict=True))


def test_images_held_out_stay_out():
    found = np.concatenate(batches(20, size=3, seed=0, task=0, epoch=0, held_out=0.5, curriculum=Evens()))
    plain = np.concatenate(batches(20, size=3, seed=0, task=0, epoch=0, held_out=0.5))
    assert set(found) == set(plain) & set(range(0, 20, 2))
