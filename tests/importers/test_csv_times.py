from __future__ import annotations

import pytest

from sagacity_data.importers.csv_times import TimesRefused, format_called, format_of

NOON_US = 1_714_564_800_000_000  # 2024-05-01T12:00:00Z, a Wednesday


@pytest.mark.parametrize(
    ("texts", "name", "at_us"),
    [
        (["2024-05-01T14:00:00+02:00"], "iso", NOON_US),
        (["2024-05-01 12:00:00,25"], "iso", NOON_US + 250_000),
        (["2024/05/01 12:00:00.123"], "year_first", NOON_US + 123_000),
        (["2024.5.1 12:00"], "year_first", NOON_US),
        (["01-05-2024 12:00", "28-05-2024 12:00"], "day_first", NOON_US),
        (["1/5/24 12:00", "13/5/24 12:00"], "day_first", NOON_US),
        (["05/01/2024 12:00:00 PM", "05/31/2024 1:00 AM"], "month_first", NOON_US),
        (["01.05.2024 12:00:00"], "day_first", NOON_US),
        (["01.05.2024 14:00 +0200"], "day_first", NOON_US),
        (["1714564800"], "epoch_s", NOON_US),
        (["1714564800,5"], "epoch_s", NOON_US + 500_000),
        (["1714564800000"], "epoch_ms", NOON_US),
        (["1714564800000001"], "epoch_us", NOON_US + 1),
        (["1714564800000001999"], "epoch_ns", NOON_US + 1),
    ],
)
def test_formats_are_found_by_evidence(texts: list[str], name: str, at_us: int) -> None:
    """The format of the first values is the one that fits them all, and it reads the first right."""
    found = format_of(texts)
    told = found.at(texts[0])
    assert told is not None
    assert (found.name, told[0]) == (name, at_us)


def test_day_and_month_that_look_alike_are_refused_with_the_way_out() -> None:
    """Up to the twelfth nobody can know: the user says which comes first."""
    with pytest.raises(TimesRefused) as refused:
        format_of(["01/02/2024", "03/04/2024"])
    assert "cannot be told apart" in refused.value.reason
    assert "--column time_format=day_first" in refused.value.way_out
    assert format_called("day_first").at("01/02/2024") == (1_706_745_600_000_000, False)
    assert format_called("month_first").at("01/02/2024") == (1_704_153_600_000_000, False)


def test_a_few_bad_values_do_not_change_the_format() -> None:
    """One value in twenty that fits nothing is left to be none; half of them are too many."""
    assert format_of(["28/05/2024"] * 19 + ["soon"]).name == "day_first"
    with pytest.raises(TimesRefused, match="holds times like 'soon'"):
        format_of(["soon", "2024-05-01"])


def test_codes_of_the_users_own_are_obeyed() -> None:
    """strptime's codes read what no other format does; what makes no sense is refused."""
    assert format_called("%H:%M on %d of %m, %Y").at("12:00 on 1 of 5, 2024") == (NOON_US, False)
    for bad in ("later", "%Q %", "%(", ""):
        with pytest.raises(TimesRefused):
            format_called(bad)


@pytest.mark.parametrize(
    "text", ["", "1969-12-31", "9999-99-99", "2024-05-01 25:00", "x" * 100_000, "0001-01-01"]
)
def test_what_is_no_time_since_1970_is_none(text: str) -> None:
    """Impossible, early and endless texts are no times."""
    assert format_called("iso").at(text) is None
    assert format_called("year_first").at(text) is None
