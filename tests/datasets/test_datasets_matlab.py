from pathlib import Path

import numpy as np
import pytest
from matlab_writer import cells, number, structs, text, write_matlab

from ram_cli.datasets.matlab import read_matlab
from ram_cli.errors import DataError


@pytest.mark.parametrize("compress", [True, False])
def test_values_come_back(tmp_path: Path, compress: bool) -> None:
    rows = [{"path": "a.jpg", "class": 7}, {"path": "é", "class": 300}]
    content = {"rows": structs(rows), "names": cells([text("x"), text("")]), "n": number(5)}
    back = read_matlab(write_matlab(tmp_path / "a.mat", content, compress=compress))
    assert [(row["path"], row["class"].item()) for row in back["rows"]] == [
        ("a.jpg", 7),
        ("é", 300),
    ]
    assert back["names"] == ["x", ""]
    assert back["n"].shape == (1, 1)


def test_files_of_another_writer_are_read(tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    rows = np.zeros((1, 3), dtype=[("path", object), ("class", object)])
    for index in range(3):
        rows[0, index] = (f"car_ims/{index:06d}.jpg", index * 200)
    names = np.empty((1, 2), dtype=object)
    names[0, :] = ["Häuser", "b"]
    table = np.arange(6, dtype=np.float64).reshape(2, 3) / 2
    for compress in (False, True):
        scipy_io.savemat(
            tmp_path / "a.mat",
            {"rows": rows, "names": names, "table": table, "none": np.zeros((0, 0))},
            do_compression=compress,
        )
        back = read_matlab(tmp_path / "a.mat")
        assert [row["path"] for row in back["rows"]] == [f"car_ims/{n:06d}.jpg" for n in range(3)]
        assert [row["class"].item() for row in back["rows"]] == [0, 200, 400]
        assert back["names"] == ["Häuser", "b"]
        np.testing.assert_array_equal(back["table"], table)
        assert back["none"].size == 0


def test_every_cut_of_a_file_is_refused_or_lacks_a_variable(tmp_path: Path) -> None:
    rows = structs([{"path": "a.jpg", "class": 7}])
    for compress in (False, True):
        path = write_matlab(tmp_path / "a.mat", {"rows": rows, "n": number(5)}, compress=compress)
        whole = path.read_bytes()
        for length in range(0, len(whole), 5):
            path.write_bytes(whole[:length])
            try:
                assert len(read_matlab(path)) < 2
            except DataError:
                continue


def test_no_change_of_a_byte_escapes_as_another_error(tmp_path: Path) -> None:
    path = write_matlab(
        tmp_path / "a.mat", {"rows": structs([{"path": "a", "class": 7}])}, compress=False
    )
    whole = path.read_bytes()
    for position in range(126, len(whole), 2):
        for value in (0, 14, 255):
            path.write_bytes(whole[:position] + bytes([value]) + whole[position + 1 :])
            try:
                read_matlab(path)
            except DataError:
                continue


def test_a_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read_matlab(tmp_path / "a.mat")
    (tmp_path / "a.mat").write_bytes(b"x" * 200)
    with pytest.raises(DataError):
        read_matlab(tmp_path / "a.mat")


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    value = number(1)
    for _ in range(50):
        value = cells([value])
    with pytest.raises(DataError):
        read_matlab(write_matlab(tmp_path / "a.mat", {"deep": value}))
