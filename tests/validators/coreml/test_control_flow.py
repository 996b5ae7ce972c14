"""Branches, loops and lists, against the same thing written in Python."""

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

from validators.coreml import ExecutionError

X = np.array([1.0, -2.0, 3.0], np.float32)


@pytest.mark.parametrize(("flag", "expected"), [(1.0, X * 2), (-1.0, X + 5)])
def test_cond_runs_one_branch(execute, flag, expected):
    def build(x, flag):
        positive = mb.squeeze(x=mb.greater(x=flag, y=0.0))
        return mb.cond(pred=positive, _true_fn=lambda: mb.mul(x=x, y=2.0), _false_fn=lambda: mb.add(x=x, y=5.0))

    np.testing.assert_array_equal(execute(build, {"x": X, "flag": np.array([flag], np.float32)}), expected)


@pytest.mark.parametrize("rounds", [0, 1, 7])
def test_while_loop_tests_before_each_round(execute, rounds):
    def build(x, limit):
        end = mb.squeeze(x=limit)
        _, total = mb.while_loop(
            _cond=lambda i, total: mb.less(x=i, y=end),
            _body=lambda i, total: (mb.add(x=i, y=1.0), mb.add(x=total, y=x)),
            loop_vars=(0.0, mb.mul(x=x, y=1.0)),
        )
        return total

    result = execute(build, {"x": X, "limit": np.array([rounds], np.float32)})
    np.testing.assert_array_equal(result, X * (rounds + 1))


def test_a_loop_in_a_branch_in_a_loop_sees_the_outer_values(execute):
    def build(x):
        def body(i, total):
            def inner():
                _, deep = mb.while_loop(
                    _cond=lambda j, t: mb.less(x=j, y=i),
                    _body=lambda j, t: (mb.add(x=j, y=1.0), mb.add(x=t, y=x)),
                    loop_vars=(0.0, total),
                )
                return deep

            taken = mb.cond(pred=mb.greater(x=i, y=1.0), _true_fn=inner, _false_fn=lambda: mb.mul(x=total, y=1.0))
            return mb.add(x=i, y=1.0), taken

        _, result = mb.while_loop(
            _cond=lambda i, total: mb.less(x=i, y=4.0), _body=body, loop_vars=(0.0, mb.mul(x=x, y=1.0))
        )
        return result

    np.testing.assert_array_equal(execute(build, {"x": X}), X * (1 + 2 + 3))


def test_select_broadcasts_and_ignores_what_it_does_not_take(execute):
    def build(x, y):
        return mb.select(cond=np.array([[True], [False]]), a=x, b=mb.real_div(x=y, y=0.0))

    result = execute(build, {"x": X, "y": np.ones((2, 3), np.float32)})
    np.testing.assert_array_equal(result, [X, [np.inf] * 3])


def _list(x, length, dynamic=True):
    return mb.make_list(init_length=length, dynamic_length=dynamic, elem_shape=(3,), dtype="fp32")


def test_a_list_holds_what_was_written_and_zeros_elsewhere(execute):
    def build(x):
        values = mb.list_write(ls=_list(x, 3), index=1, value=x)
        return mb.list_gather(ls=values, indices=[0, 1, 2]), mb.list_read(ls=values, index=1)

    gathered, read = execute(build, {"x": X})
    np.testing.assert_array_equal(gathered, [X * 0, X, X * 0])
    np.testing.assert_array_equal(read, X)


def test_a_dynamic_list_grows(execute):
    def build(x):
        values = mb.list_write(ls=_list(x, 1), index=4, value=x)
        return mb.list_length(ls=values), mb.list_read(ls=values, index=4)

    length, read = execute(build, {"x": X})
    assert length.tolist() == [5]
    np.testing.assert_array_equal(read, X)


def test_writing_leaves_the_list_before_as_it_was(execute):
    def build(x):
        before = mb.list_write(ls=_list(x, 2), index=0, value=x)
        after = mb.list_write(ls=before, index=0, value=mb.mul(x=x, y=2.0))
        return mb.list_read(ls=before, index=0), mb.list_read(ls=after, index=0)

    before, after = execute(build, {"x": X})
    np.testing.assert_array_equal(before, X)
    np.testing.assert_array_equal(after, X * 2)


def test_scatter_writes_in_order(execute):
    def build(x):
        values = mb.list_scatter(ls=_list(x, 3), indices=[2, 0], value=mb.stack(values=(x, mb.add(x=x, y=1.0)), axis=0))
        return mb.list_gather(ls=values, indices=[0, 1, 2])

    np.testing.assert_array_equal(execute(build, {"x": X}), [X + 1, X * 0, X])


def test_a_list_of_fixed_length_does_not_grow(execute):
    def build(x):
        return mb.list_read(ls=mb.list_write(ls=_list(x, 2, dynamic=False), index=2, value=x), index=0)

    with pytest.raises(ExecutionError, match=r"list_write .*index 2 is outside a list of fixed length 2"):
        execute(build, {"x": X})
