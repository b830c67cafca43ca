"""Checks of arguments: every kind of bad value is refused, with its name, and every good one taken.

The other tests have one bad row an argument; what a kind of argument refuses stands here.
"""

import math
import re
from decimal import Decimal
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ntklab import _validate as validate

NOT_NUMBERS = [None, "1", b"1", 1j, [], {}, object(), [1.0], np.ones(1), np.array("1")]
NOT_FINITE = [math.nan, math.inf, -math.inf, np.float32("nan"), jnp.asarray(math.inf), 10**400]


def refused(check, *arguments, **options):
    """The error's text, which begins with the argument's name."""
    with pytest.raises(ValueError, match=r"^x must ") as error:
        check("x", *arguments, **options)
    assert re.search(r", got ", str(error.value)), error.value
    return str(error.value)


# --- single numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [*NOT_NUMBERS, *NOT_FINITE, True, False, Decimal(1)], ids=repr)
def test_what_is_no_number(value):
    refused(validate.number, value)


@pytest.mark.parametrize(
    "value", [2, 2.0, np.float32(2), np.int64(2), np.array(2.0), jnp.asarray(2), Fraction(4, 2)]
)
def test_numbers_of_every_kind(value):
    found = validate.number("x", value, above=1, at_least=2)
    assert found == 2.0
    assert type(found) is float


@pytest.mark.parametrize(
    ("limits", "text"),
    [({"above": 2}, "greater than 2"), ({"at_least": 3}, "at least 3")],
)
def test_a_number_outside_its_limits(limits, text):
    assert text in refused(validate.number, 2, **limits)


@pytest.mark.parametrize("value", [*NOT_NUMBERS, -1, -math.inf, math.nan, True], ids=repr)
def test_what_is_no_bound(value):
    refused(validate.bound, value)


def test_a_bound_may_be_infinite():
    assert validate.bound("x", math.inf) == math.inf
    assert validate.bound("x", 0) == 0


@pytest.mark.parametrize("value", [*NOT_NUMBERS, *NOT_FINITE, 0, 1, -0.1, 1.1, True], ids=repr)
def test_what_is_no_probability(value):
    refused(validate.probability, value)


@pytest.mark.parametrize(
    "value", [*NOT_NUMBERS, 1.0, 1.5, True, np.bool_(True), 0, -1, math.nan], ids=repr
)
def test_what_is_no_integer_from_one(value):
    refused(validate.integer, value, at_least=1)


def test_integers_of_every_kind():
    found = [validate.integer("x", value, at_least=1) for value in (2, np.int8(2), np.uint64(2))]
    assert found == [2, 2, 2]
    assert {type(value) for value in found} == {int}


@pytest.mark.parametrize("value", [0, 1, "no", "", None, 0.0, [], np.ones(1, bool)], ids=repr)
def test_what_is_no_flag(value):
    refused(validate.flag, value)


def test_flags_of_both_kinds():
    assert [validate.flag("x", value) for value in (True, np.bool_(False))] == [True, False]


@pytest.mark.parametrize("value", ["c", "", "A", None, 0, ["a"]], ids=repr)
def test_what_is_none_of_the_words(value):
    with pytest.raises(ValueError, match=r"^x must be one of a, b; got"):
        validate.choice("x", value, ("a", "b"))


def test_instances_by_their_kinds():
    validate.instance("x", 1.0, int, float)
    assert refused(validate.instance, "1", int, float) == "x must be int or float, got str"


# --- sequences ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["text", b"bytes", 3, None, np.array(3)], ids=repr)
def test_what_is_no_sequence(value):
    refused(validate.items, value)


def test_sequences_of_every_kind():
    for value in ([1, 2], (1, 2), range(1, 3), iter([1, 2]), np.array([1, 2]), {1: 0, 2: 0}):
        assert validate.items("x", value) == [1, 2]


@pytest.mark.parametrize("value", ["12", 3, None, (), []], ids=repr)
def test_what_are_no_widths(value):
    refused(validate.widths, value)


@pytest.mark.parametrize("value", [(0,), (2, -1), (2.0,), (True,), ("2",)], ids=repr)
def test_a_width_that_is_none_is_named_by_its_place(value):
    with pytest.raises(ValueError, match=r"^x\[\d\] must be"):
        validate.widths("x", value)


# --- arrays -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        object(),
        [[1.0], [1.0, 2.0]],
        np.array(["a"]),
        np.array([None]),
        np.array([1j]),
        np.ma.masked_array([1.0, 2.0], [True, False]),
        [math.nan],
        [math.inf],
        [-math.inf],
        [10**400],
        jnp.array([1.0, math.nan]),
    ],
    ids=repr,
)
def test_what_is_no_array_of_numbers(value):
    refused(validate.floating, value)


@pytest.mark.parametrize(
    ("shape", "options", "text"),
    [
        ((), {"ndim": 1}, "x must have 1 axes, got shape ()"),
        ((2, 2), {"ndim": 1}, "x must have 1 axes, got shape (2, 2)"),
        ((2,), {"min_ndim": 2}, "x must have at least 2 axes, got shape (2,)"),
    ],
)
def test_an_array_of_other_axes(shape, options, text):
    assert refused(validate.floating, np.ones(shape), **options) == text


@pytest.mark.parametrize("value", [[1, 2], np.array([1, 2]), np.array([True])])
def test_whole_numbers_become_floats_of_their_size(value):
    found = validate.floating("x", value, ndim=1)
    assert jnp.issubdtype(found.dtype, jnp.floating)
    np.testing.assert_allclose(np.asarray(found), np.asarray(value, float), rtol=1e-6)


def test_a_floating_type_is_kept(dtype):
    assert validate.floating("x", np.ones(2, dtype)).dtype == dtype


def test_values_inside_a_trace_pass():
    """They are not known yet: shapes are checked, NaN is not."""
    found = jax.jit(lambda x: validate.floating("x", x, ndim=1))(jnp.array([math.nan]))
    assert math.isnan(found[0])
    with pytest.raises(ValueError, match=r"^x must have 2 axes"):
        jax.jit(lambda x: validate.floating("x", x, ndim=2))(jnp.ones(3))
    with pytest.raises(ValueError, match=r"^x must be known when a function is traced"):
        jax.jit(lambda x: validate.number("x", x))(1.0)


@pytest.mark.parametrize("value", [np.ones(3), np.ones((2, 2, 2)), 1.0, np.ones((0, 3))])
def test_what_are_no_points(value):
    refused(validate.points, value)


@pytest.mark.parametrize("value", ["int32", int, complex, "float3", object(), "text"], ids=repr)
def test_what_is_no_floating_type(value):
    refused(validate.floating_dtype, value)


@pytest.mark.parametrize("value", [0, None, np.ones(2), jnp.ones(2), "key"], ids=repr)
def test_what_is_no_key(value):
    refused(validate.random_key, value)


# --- matrices -----------------------------------------------------------------------------------


def test_matrices_that_are_symmetric_up_to_rounding(dtype):
    matrix = np.array([[2.0, 1.0], [1.0, 2.0]], dtype)
    matrix[0, 1] *= 1 + 100 * np.finfo(dtype).eps
    validate.symmetric("x", matrix)
    matrix[0, 1] = 1.1
    assert "differ by 0.1" in refused(validate.symmetric, matrix)


@pytest.mark.parametrize("known", [False, True], ids=["matrix", "eigenvalues"])
def test_matrices_that_are_positive_semidefinite_up_to_rounding(dtype, known):
    def check(entry):
        matrix = np.array([[1.0, entry], [entry, 1.0]], dtype)
        values = np.linalg.eigvalsh(matrix) if known else None
        validate.positive_semidefinite("x", None if known else matrix, eigenvalues=values)

    check(1 + 100 * np.finfo(dtype).eps)
    message = r"^x must be positive semidefinite, got the eigenvalue -1"
    with pytest.raises(ValueError, match=message):
        check(2.0)


def test_matrices_inside_a_trace_pass():
    @jax.jit
    def check(matrix):
        validate.symmetric("x", matrix)
        validate.positive_semidefinite("x", matrix)
        return matrix

    check(jnp.array([[0.0, 1.0], [-1.0, -3.0]]))
