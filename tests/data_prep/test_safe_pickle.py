"""Pickles of others: values come back, code never runs."""

import collections
import os
import pickle
import sys
import types

import numpy as np
import pytest

from brainfm.errors import DataError
from data_prep.readers.safe_pickle import read_pickle

CALLED = []


class Evil:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


def save(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_containers_and_arrays_come_back_as_they_were(tmp_path, protocol):
    value = {
        "words": ["嘴巴", "b"],
        "set": {1, 2},
        "bytes": b"\x00\xff",
        "many": (None, True, 1.5, 10**30, 2j),
        "x": np.arange(12, dtype=">f4").reshape(3, 4).T,
        "text": np.array(["ab", "c"]),
        "mixed": np.array(["a", 1, None], dtype=object),
        "one": np.float64(2.5),
        "flag": np.array([True, False]),
    }
    found = read_pickle(save(tmp_path / "a", value, protocol))
    # NumPy itself brings swapped bytes into the order of the machine.
    value = pickle.loads(pickle.dumps(value, protocol))
    assert found.keys() == value.keys()
    for key in ("words", "set", "bytes", "many", "one"):
        assert found[key] == value[key]
    for key in ("x", "text", "mixed", "flag"):
        assert found[key].dtype == value[key].dtype
        assert (np.asarray(found[key]) == value[key]).all()


@pytest.mark.parametrize(
    "evil",
    [
        Evil(os.system, "touch pwned"),
        Evil(eval, "CALLED.append(1)"),
        Evil(getattr, dict, "fromkeys"),
        Evil(CALLED.append, 1),
        Evil(np.load, "a"),
        Evil(np.array, [1]),
        collections.OrderedDict(a=1),
        types.SimpleNamespace(a=1),
        len,
    ],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_anything_else_is_refused_by_its_name_and_does_not_run(
    tmp_path, monkeypatch, evil, protocol
):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "a", [1, {"x": evil}], protocol)
    with pytest.raises(DataError, match=r"a: names '.*\..*', which is no plain") as e:
        read_pickle(path)
    assert len(str(e.value).splitlines()) == 1
    assert CALLED == [] and not (tmp_path / "pwned").exists()


def test_a_dict_with_attributes_comes_back_as_a_dict_without_its_code(tmp_path, monkeypatch):
    module = types.ModuleType("utils.DotDict")
    code = "class DotDict(dict):\n    def __setstate__(self, s): raise RuntimeError('ran')\n"
    exec(code, vars(module))
    module.DotDict.__module__ = "utils.DotDict"
    monkeypatch.setitem(sys.modules, "utils", types.ModuleType("utils"))
    monkeypatch.setitem(sys.modules, "utils.DotDict", module)
    value = module.DotDict(name="w", x=np.ones(3))
    path = save(tmp_path / "a", [value])
    monkeypatch.delitem(sys.modules, "utils.DotDict")
    (found,) = read_pickle(path, mappings=("DotDict",))
    assert isinstance(found, dict) and found["name"] == "w" and found["x"].sum() == 3
    with pytest.raises(DataError, match=r"names 'utils\.DotDict\.DotDict'"):
        read_pickle(path)


def test_types_that_lay_pointers_over_bytes_are_refused(tmp_path):
    records = np.zeros(2, dtype=[("a", "O"), ("b", "f4")])
    for value in (records, np.array(["2020-01-01"], "M8[D]")):
        with pytest.raises(DataError, match="is a damaged pickle"):
            read_pickle(save(tmp_path / "a", value))


def test_damaged_and_missing_pickles_are_named(tmp_path):
    whole = pickle.dumps({"x": np.arange(100.0)})
    for content in (whole[:-20], b"not a pickle", b"\x80\x04."):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(DataError, match=r"a: is a damaged pickle .* fetch it again"):
            read_pickle(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(DataError, match="has 0 bytes"):
        read_pickle(tmp_path / "a")
    with pytest.raises(DataError, match="b: cannot be read"):
        read_pickle(tmp_path / "b")


def test_no_change_of_a_byte_gets_past_the_list(tmp_path):
    rng = np.random.default_rng(0)
    value = [{"x": np.arange(6.0), "name": "w", "set": {1}}, np.float32(2), b"ab"]
    for protocol in (2, 4):
        whole = pickle.dumps(value, protocol)
        for _ in range(150):
            broken = bytearray(whole)
            broken[rng.integers(len(broken))] = rng.integers(256)
            (tmp_path / "a").write_bytes(bytes(broken))
            try:
                read_pickle(tmp_path / "a")
            except DataError as e:
                assert len(str(e).splitlines()) == 1
