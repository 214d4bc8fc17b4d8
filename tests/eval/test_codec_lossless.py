"""The lossless length against bits that are really written, and read back."""

import numpy as np
import pytest

from eval.codec import lossless as ll

RNG = np.random.default_rng(0)
T = 700  # two whole partitions and a short one


def signals():
    time = np.arange(T) / 256
    sine = 900 * np.sin(2 * np.pi * 9.3 * time)
    walk = np.cumsum(RNG.normal(size=T)) * 20
    return ll.to_int16(
        np.stack([sine, walk, RNG.normal(size=T) * 300, np.zeros(T), 1e6 * np.sign(sine)]), 1.0
    )


def number(n, width):
    return format(int(n) & (2**width - 1), f"0{width}b") if width else ""


def signed(text):
    n = int(text, 2)
    return n - (1 << len(text)) if text[0] == "1" else n


def write_residual(residual):
    """Rice codes, the parameter of each partition in front; the shortest of all parameters."""
    out = ""
    for start in range(0, len(residual), ll.PARTITION):
        part = ll.zigzag(residual[start : start + ll.PARTITION])
        tried = []
        for k in range(2**ll.PARAMETER_BITS):
            words = ("1" * (int(v) >> k) + "0" + number(v, k) for v in part)
            tried.append(number(k, ll.PARAMETER_BITS) + "".join(words))
        out += min(tried, key=len)
    return out


def read_residual(text, n):
    out = []
    while len(out) < n:
        k, text = int(text[: ll.PARAMETER_BITS], 2), text[ll.PARAMETER_BITS :]
        for _ in range(min(ll.PARTITION, n - len(out))):
            high = text.index("0")
            low = text[high + 1 : high + 1 + k]
            value = (high << k) + (int(low, 2) if k else 0)
            out.append(value // 2 if value % 2 == 0 else -(value + 1) // 2)
            text = text[high + 1 + k :]
    return np.array(out), text


def write(x):
    """One signal as a string of 0 and 1: predictor, first samples, coefficients, residual."""
    tried = []
    for order in range(ll.FIXED_ORDERS):
        first = "".join(number(v, ll.SAMPLE_BITS) for v in x[:order])
        residual = ll.fixed_residual(x[None], order)[0]
        tried.append(number(order, ll.MODE_BITS) + first + write_residual(residual))
    a = ll.fitted_coefficients(x[None])
    head = number(ll.FIXED_ORDERS, ll.MODE_BITS)
    head += "".join(number(v, ll.SAMPLE_BITS) for v in x[: ll.LPC_ORDER])
    head += "".join(number(v, ll.LPC_BITS) for v in a[0])
    tried.append(head + write_residual(ll.fitted_residual(x[None], a)[0]))
    return min(tried, key=len)


def read(text, n):
    def take(count, width):
        nonlocal text
        taken = [signed(text[i * width : (i + 1) * width]) for i in range(count)]
        text = text[count * width :]
        return np.array(taken, np.int64)[None]

    mode, text = int(text[: ll.MODE_BITS], 2), text[ll.MODE_BITS :]
    fitted = mode == ll.FIXED_ORDERS
    order = ll.LPC_ORDER if fitted else mode
    first = take(order, ll.SAMPLE_BITS)
    a = take(order, ll.LPC_BITS) if fitted else None
    residual, text = read_residual(text, n - order)
    assert not text
    if fitted:
        return ll.from_fitted_residual(first, residual[None], a)[0]
    return ll.from_fixed_residual(first, residual[None])[0]


def test_the_length_is_that_of_bits_written_and_they_give_the_signal_back():
    x = signals()
    length = ll.lossless_bits(x)
    for one, bits in zip(x, length, strict=True):
        text = write(one)
        assert len(text) == bits
        assert (read(text, T) == one).all()


def test_prediction_shortens_a_sine_and_cannot_shorten_noise():
    sine, _, noise, flat, _ = ll.lossless_bits(signals()) / T
    # White noise of deviation 300 holds log2(300 sqrt(2 pi e)) bits a sample.
    entropy = np.log2(300 * np.sqrt(2 * np.pi * np.e))
    assert entropy < noise < entropy + 0.3
    assert sine < 4 and flat < 1.1  # 11 bits without prediction


@pytest.mark.parametrize("order", range(ll.FIXED_ORDERS))
def test_differences_are_undone(order):
    x = signals()
    back = ll.from_fixed_residual(x[:, :order], ll.fixed_residual(x, order))
    assert (back == x).all()


def test_integers_stay_within_sixteen_bits():
    q = ll.to_int16(np.array([[1.26, -4.0, 1e9, -1e9]]), 0.5)
    assert q.tolist() == [[3, -8, 32767, -32768]]
