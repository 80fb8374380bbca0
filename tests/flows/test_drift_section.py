"""The report's Drift section: plain words, evidence against its limit over time, nothing unescaped."""

from datetime import date, timedelta
from xml.etree import ElementTree

from flows.alarms import LOOKED_BACK_DAYS
from flows.drift_section import KEPT_DAYS, Drift, evidence_chart, render_drift

DAY = date(2026, 3, 2)


def rows(
    monitor: str, subject: str, statistics: list[float], threshold: float = 208.0, words: str = "as usual"
):
    return [
        {
            "as_of_date": DAY + timedelta(weeks=k),
            "monitor": monitor,
            "subject": subject,
            "statistic": value,
            "threshold": threshold,
            "fired": value >= threshold,
            "action": "asks for a search, pages" if value >= threshold else "none",
            "words": words,
        }
        for k, value in enumerate(statistics)
    ]


def test_nothing_watched_has_no_section():
    assert render_drift(Drift()) == ""


def test_alarms_come_first_in_plain_words():
    fall = rows(
        "T3", "early wins fall", [1.0, 20.0, 400.0], words="early wins are 38 % below what is expected"
    )
    html = render_drift(Drift([*rows("T2", "loss at 7 days", [1.0, 0.5], 60.0), *fall]))
    body = html.split("<tbody>")[1]
    assert body.index("Early wins are 38 % below what is expected") < body.index(
        "Nothing out of the ordinary"
    )
    assert "reached" in body
    assert "asks for a search, pages" in body
    assert html.count("<svg") == 2


def test_only_the_last_night_of_t1_is_shown():
    old = rows("T1", "null_share lead.industry", [1e-9], 1e-4, "old news")
    new = [{**row, "as_of_date": DAY + timedelta(days=9)} for row in rows("T1", "volume lead", [0.01], 1e-4)]
    html = render_drift(Drift([*old, *new]))
    assert "Old news" not in html
    assert "As usual" in html


def test_open_pages_stay_in_sight_after_the_evidence_began_anew():
    page = {"words": "early wins are 38 % below", "first_seen": DAY, "last_seen": DAY + timedelta(weeks=5)}
    long_ago = rows("T3", "early wins fall", [300.0, *[0.5] * 5])
    html = render_drift(Drift(long_ago, [{**page, "times_seen": 2}]))
    assert "Early wins are 38 % below" in html
    assert "raised 2 times since 2026-03-02, last on 2026-04-06" in html
    assert "reached" not in html


def test_every_age_of_t2_says_its_last_word_on_whichever_day_it_settled():
    """An alarm at 30 days on a Wednesday stays when 90 days are counted, quietly, on the Sunday after."""
    alarm = rows("T2", "loss at 30 days", [90.0], 60.0, "loss is worse")
    quiet = [
        {**row, "as_of_date": DAY + timedelta(days=days)}
        for age, days in ((7, 2), (30, 7), (90, 4))
        for row in rows("T2", f"loss at {age} days", [1.0], 60.0)
    ]
    body = render_drift(Drift([*alarm, *quiet])).split("<tbody>")[1].split("</tbody>")[0]
    assert [row.split("</td>")[0] for row in body.split("<td>")[1::3]] == [
        "loss at 30 days",
        "loss at 7 days",
        "loss at 30 days",
        "loss at 90 days",
    ]
    assert "Loss is worse (on 2 March 2026)" in body
    assert "asks for a search" in body
    later = {**quiet[0], "as_of_date": DAY + timedelta(days=KEPT_DAYS)}
    assert "Loss is worse" not in render_drift(Drift([*alarm, *quiet, later]))


def test_alarms_stay_in_the_table_as_long_as_they_may_be_searched_for():
    assert KEPT_DAYS == LOOKED_BACK_DAYS


def test_two_sides_without_an_alarm_are_one_row():
    both = [*rows("T3", "early wins fall", [80.0], words="a fall"), *rows("T3", "early wins rise", [0.1])]
    html = render_drift(Drift(both))
    assert html.count("<tr>") == 2
    assert "A fall" in html


def test_the_share_of_the_limit_grows_with_the_evidence():
    def share(statistic: float, threshold: float, monitor: str) -> str:
        one = {**rows(monitor, "s", [statistic], threshold)[0], "fired": False}
        return render_drift(Drift([one])).split('<td class="number">')[1].split("<")[0]

    assert share(10.0, 100.0, "T2") == "50%"
    assert share(0.2, 100.0, "T2") == "0%"
    assert share(0.01, 0.0001, "T1") == "50%"
    assert share(1.0, 0.0001, "T1") == "0%"


def test_the_chart_shows_limit_alarms_and_restart():
    svg = evidence_chart(rows("T3", "early wins fall", [0.001, 30.0, 1400.0, 2.0]))
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own
    lines = [node for node in root.iter() if node.tag.endswith("polyline")]
    assert [node.get("class") for node in lines] == ["dash", "line"]
    assert len(lines[1].get("points").split()) == 4
    assert sum(node.tag.endswith("circle") for node in root.iter()) == 1
    assert "alarm at 208" in svg


def test_hostile_words_are_escaped():
    words = "country has a new level '<script>alert(1)</script>'"
    page = {"words": words, "first_seen": DAY, "last_seen": DAY, "times_seen": 1}
    html = render_drift(Drift(rows("T1", "new_levels <b>", [1e-9], 1e-4, words), [page], ["<i>too few</i>"]))
    assert "<script>" not in html
    assert "<i>" not in html
