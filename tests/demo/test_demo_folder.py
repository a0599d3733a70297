"""Which folders the demo takes for itself."""

from pathlib import Path

import pytest

from sagacity_api.demo.story import MARK, DemoRefused, prepare


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    """Missing parents are made, and everything of the demo lies below its folder."""
    places = prepare(tmp_path / "a" / "b" / "demo")
    assert (tmp_path / "a" / "b" / "demo" / MARK).is_file()
    for place in (places.dataset, places.registry, places.bundle, places.snapshot, places.live):
        assert place.parent == (tmp_path / "a" / "b" / "demo").resolve()


def test_an_earlier_demo_is_replaced(tmp_path: Path) -> None:
    """What an earlier demo left in its folder is gone."""
    old = prepare(tmp_path / "demo").root / "old.txt"
    old.write_text("old", encoding="utf-8")
    prepare(tmp_path / "demo")
    assert not old.exists()


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    """A folder that holds nothing has nothing to lose."""
    assert prepare(tmp_path).root == tmp_path.resolve()


def test_anything_else_is_left_alone(tmp_path: Path) -> None:
    """A folder or file that no demo made stays as it was, and the refusal names --into."""
    folder = tmp_path / "work"
    folder.mkdir()
    file = folder / "thesis.txt"
    file.write_text("years", encoding="utf-8")
    for into in (folder, file):
        with pytest.raises(DemoRefused, match="--into"):
            prepare(into)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    assert file.read_text(encoding="utf-8") == "years"
