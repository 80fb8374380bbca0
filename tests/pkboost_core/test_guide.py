"""The code of the guide runs as printed, and its comments are true."""

import re
from pathlib import Path

import numpy as np

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "booster.md"


def test_the_guide_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(block, GUIDE.name, "exec"), names)  # noqa: S102
    assert "source in {fair}" in capsys.readouterr().out
    assert [(t.name, t.reason, t.row_share) for t in names["touched"]] == [("visits", "novel values", 1.0)]
    leads = names["leads"]
    expected = names["same"].predict_proba(leads)
    assert expected.shape == (2000, 2)
    shuffled = names["same"].predict_proba(leads.select("is_customer", "source", "visits"))
    np.testing.assert_array_equal(shuffled, expected)
