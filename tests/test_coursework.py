"""What answers meet first: shape, kind, finiteness, and messages that give nothing away."""

import jax.numpy as jnp
import numpy as np
import pytest
from ntklab import coursework

pytestmark = pytest.mark.once

READ_ONLY = np.arange(3.0)
READ_ONLY.setflags(write=False)


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ([0, 1, 2], (3,)),
        ((0.0, 1.0, 2.0), (3,)),
        (READ_ONLY, (3,)),
        (np.arange(3, dtype=np.uint8), (3,)),
        (np.arange(3, dtype=np.float16), (3,)),
        (jnp.arange(3, dtype=jnp.float32), (3,)),
        (jnp.arange(3, dtype=jnp.bfloat16), (3,)),
        ([np.float32(0), jnp.asarray(1.0), 2], (3,)),
        (READ_ONLY[:, None], (None, 1)),
        (1.5, ()),
        (np.float32(1.5), ()),
        (np.array(1.5), ()),
        (jnp.asarray(1.5), ()),
    ],
)
def test_honest_answers_are_numbers(value, shape):
    found = coursework.numbers("q1", value, shape)
    assert found.dtype == np.float64
    expected = 1.5 if shape == () else np.arange(3).reshape(found.shape)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "returned None"),
        (..., "nothing is filled in"),
        ([True, False, True], "truth values"),
        ([1j, 2, 3], "complex"),
        (["1", "2", "3"], "real numbers, got list"),
        ([[1], [2, 3]], "real numbers, got list"),
        ({0: 1}, "real numbers, got dict"),
        ([1, 2], r"shape \(3,\), got \(2,\)"),
        ([[1, 2, 3]], r"shape \(3,\), got \(1, 3\)"),
        (1.0, r"shape \(3,\), got \(\)"),
        ([1, 2, np.nan], "finite"),
        ([1, 2, np.inf], "finite"),
    ],
)
def test_other_answers_are_told_what_they_are(value, said):
    with pytest.raises(AssertionError, match=said):
        coursework.numbers("q1", value, (3,))


def test_a_row_of_one_number_is_no_number():
    with pytest.raises(AssertionError, match="single number"):
        coursework.numbers("q1", [1.0], ())
    with pytest.raises(AssertionError, match=r"shape \(any, 2\)"):
        coursework.numbers("q1", np.zeros((3, 3)), (None, 2))


def test_a_length_that_is_left_open_has_an_end():
    """A check may form the matrix of all pairs."""
    assert coursework.numbers("q1", np.zeros((2000, 1)), (None, 1)).shape == (2000, 1)
    with pytest.raises(AssertionError, match="longer than any answer"):
        coursework.numbers("q1", np.zeros((2001, 1)), (None, 1))
    assert coursework.numbers("q1", np.zeros((3000, 1)), (3000, 1)).shape == (3000, 1)


EXPECTED = np.array([[7.25, 3.5], [-4.75, 9.125]])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (EXPECTED.T, "rows and columns"),
        (EXPECTED * 2, "one and the same factor"),
        (EXPECTED**2, "a root is missing"),
        (EXPECTED + np.diag([0, 1e-3]), "off by more than rounding"),
        (np.zeros((2, 2)), "off by more than rounding"),
        (2.0, "shape"),
    ],
)
def test_what_is_off_is_said_without_the_answer(value, said):
    with pytest.raises(AssertionError, match=said) as caught:
        coursework.agree(
            "q1", value, EXPECTED, rtol=1e-5, mistakes={"a root is missing": EXPECTED**2}
        )
    assert not any(f"{number:g}" in str(caught.value) for number in EXPECTED.ravel())


def test_the_tolerance_is_a_share_of_the_largest_entry():
    coursework.agree("q1", EXPECTED + 0.99 * 9.125e-5, EXPECTED, rtol=1e-5)
    coursework.agree("q1", EXPECTED + 0.99 * (9.125e-5 + 1e-4), EXPECTED, rtol=1e-5, atol=1e-4)
    with pytest.raises(AssertionError):
        coursework.agree("q1", EXPECTED + 1.01 * 9.125e-5, EXPECTED, rtol=1e-5)
    with pytest.raises(AssertionError):
        coursework.agree("q1", EXPECTED + 1.01 * (9.125e-5 + 1e-4), EXPECTED, rtol=1e-5, atol=1e-4)


def test_a_checks_inputs_are_fresh_and_repeatable():
    assert coursework.generator().normal() != coursework.generator().normal()
    with coursework.repeatable(b"one"):
        first = [coursework.generator().normal() for _ in range(2)]
    with coursework.repeatable(b"one"):
        again = [coursework.generator().normal() for _ in range(2)]
    with coursework.repeatable(b"other"):
        other = [coursework.generator().normal() for _ in range(2)]
    assert coursework.generator().normal() not in other  # from here on they are fresh again
    assert first == again
    assert len({*first, *other}) == 4


def test_a_check_reports_what_an_answer_raises():
    def broken(dimension):
        raise ZeroDivisionError("by hand")

    outcome = coursework.check("set-1", "q4", broken)
    assert not outcome
    assert (outcome.passed, outcome.total) == (0, 1)
    assert "ZeroDivisionError: by hand" in repr(outcome)


def test_a_check_that_holds_says_so():
    angles = np.pi * np.arange(5) / 5
    plane = np.stack([np.cos(angles), np.sin(angles)], 1)
    outcome = coursework.check("set-1", "q4", lambda d: np.pad(plane, ((0, 0), (0, d - 2))))
    assert outcome
    assert repr(outcome).endswith("1 of 1 public checks hold.")


@pytest.mark.parametrize(
    ("set_", "question", "answer", "said"),
    [
        ("set-0", "q1", abs, "set must be one of set-1.*got 'set-0'"),
        ("set-1", "q9", abs, "question must be one of q1.*got 'q9'"),
        ("set-1", "q1", 3.0, "answer must be your function q1.*got float"),
    ],
)
def test_bad_calls_are_refused(set_, question, answer, said):
    with pytest.raises(ValueError, match=said):
        coursework.check(set_, question, answer)
