import numpy as np
import pytest

from ram_cli.views import ViewKey, class_plan, instance_plan


def flat(batches):
    return [key for batch in batches for key in batch]


class TestInstancePlan:
    def test_shows_every_image_once(self):
        batches = instance_plan(10, 4, seed=1, epoch=3)
        assert [len(batch) for batch in batches] == [4, 4, 2]
        keys = flat(batches)
        assert sorted(key.image for key in keys) == list(range(10))
        assert [key.position for key in keys] == list(range(10))
        assert {key.epoch for key in keys} == {3}

    @pytest.mark.parametrize("count", [2, 3, 50])
    def test_partners_are_other_images(self, count):
        keys = [
            k for epoch in range(30) for k in flat(instance_plan(count, 7, seed=0, epoch=epoch))
        ]
        assert all(key.partner != key.image and 0 <= key.partner < count for key in keys)

    def test_every_other_image_can_be_the_partner(self):
        pairs = {
            (key.image, key.partner)
            for epoch in range(200)
            for key in flat(instance_plan(4, 2, seed=0, epoch=epoch))
        }
        assert len(pairs) == 4 * 3

    def test_limits_the_epoch(self):
        keys = flat(instance_plan(100, 8, seed=1, epoch=0, images_per_epoch=20))
        assert len({key.image for key in keys}) == 20
        shown = {
            key.image
            for epoch in range(60)
            for key in flat(instance_plan(100, 8, seed=1, epoch=epoch, images_per_epoch=20))
        }
        assert shown == set(range(100))
        assert len(flat(instance_plan(5, 8, seed=1, epoch=0, images_per_epoch=20))) == 5

    def test_is_a_function_of_seed_and_epoch(self):
        plan = instance_plan(30, 4, seed=1, epoch=0)
        assert plan == instance_plan(30, 4, seed=1, epoch=0)
        assert plan != instance_plan(30, 4, seed=2, epoch=0)
        images = [key.image for key in flat(plan)]
        assert images != [key.image for key in flat(instance_plan(30, 4, seed=1, epoch=1))]

    def test_without_partners(self):
        keys = flat(instance_plan(9, 4, seed=1, epoch=0, partners=False))
        assert {key.partner for key in keys} == {-1}
        assert instance_plan(1, 4, seed=1, epoch=0) == [[ViewKey(0, 0, 0, -1)]]

    @pytest.mark.parametrize(("count", "size"), [(0, 4), (5, 0)])
    def test_bad_sizes(self, count, size):
        with pytest.raises(ValueError, match="no plan"):
            instance_plan(count, size, seed=0, epoch=0)


LABELS = np.repeat(np.arange(6), (9, 4, 3, 1, 8, 12))


class TestClassPlan:
    def plan(self, labels=LABELS, size=8, **options):
        return class_plan(labels, size, seed=3, epoch=options.pop("epoch", 0), **options)

    def test_groups_of_one_class_and_no_class_twice(self):
        for epoch in range(20):
            plan = self.plan(epoch=epoch)
            assert plan.batches
            for batch in plan.batches:
                groups = LABELS[[key.image for key in batch]].reshape(2, 4)
                assert (groups == groups[:, :1]).all()
                assert groups[0, 0] != groups[1, 0]
                assert {key.partner for key in batch} == {-1}
            positions = [key.position for key in flat(plan.batches)]
            assert positions == list(range(len(positions)))

    def test_repeats_only_in_classes_with_too_few_images(self):
        for epoch in range(20):
            images = [key.image for key in flat(self.plan(epoch=epoch).batches)]
            counts = np.bincount(images, minlength=len(LABELS))
            assert counts[LABELS != 2].max() == 1
            assert set(counts[LABELS == 2]) <= {0, 1, 2}
            assert counts[LABELS == 2].sum() in (0, 4)

    def test_counts_what_it_leaves_out(self):
        plan = self.plan()
        assert plan.excluded_classes == 1
        assert plan.repeated_classes == 1
        assert 3 not in LABELS[[key.image for key in flat(plan.batches)]]

    def test_shows_all_it_can_over_the_epochs(self):
        shown = {key.image for epoch in range(30) for key in flat(self.plan(epoch=epoch).batches)}
        assert shown == set(np.flatnonzero(LABELS != 3))

    def test_large_classes_come_first(self):
        """Drawing by what is left keeps a large class from being left over."""
        labels = np.repeat(np.arange(9), [32] + [4] * 8)
        plans = [self.plan(labels, epoch=epoch) for epoch in range(20)]
        shown = [sum(labels[key.image] == 0 for key in flat(plan.batches)) for plan in plans]
        assert np.mean(shown) > 20  # drawing classes evenly shows 13

    def test_limits_the_epoch(self):
        labels = np.repeat(np.arange(50), 8)
        assert len(flat(self.plan(labels, images_per_epoch=100).batches)) == 96
        assert len(self.plan(labels, images_per_epoch=1).batches) == 1

    def test_fewer_classes_than_a_batch_holds(self):
        plan = self.plan(np.repeat(np.arange(2), 8), size=32)
        assert [len(batch) for batch in plan.batches] == [8, 8]

    def test_is_a_function_of_seed_and_epoch(self):
        assert self.plan() == self.plan()
        assert self.plan().batches != self.plan(epoch=1).batches

    @pytest.mark.parametrize("size", [6, 2, 0])
    def test_sizes_that_do_not_fit(self, size):
        with pytest.raises(ValueError, match="groups of 4"):
            self.plan(size=size)

    def test_no_class_with_two_images(self):
        with pytest.raises(ValueError, match="two images"):
            self.plan(np.arange(5))
