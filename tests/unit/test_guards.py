"""The list of guards is true: each stands where it says, its test exists, and the manual has the table."""

from __future__ import annotations

import re

import pytest

from tests.guards import DOCUMENT, ROOT, Guard, guards, with_table


@pytest.mark.parametrize("guard", guards(), ids=lambda guard: guard.name)
def test_a_guard_stands_where_the_list_says(guard: Guard) -> None:
    text = (ROOT / guard.file).read_text()
    assert guard.taken_out(text) != text
    file, _, test = guard.test.partition("::")
    assert re.search(rf"^(async )?def {test.partition('[')[0]}\(", (ROOT / file).read_text(), re.MULTILINE)
    assert not guard.mend or (ROOT / "playbooks" / f"{guard.mend}.yml").exists()


def test_the_manual_has_them_all() -> None:
    text = DOCUMENT.read_text()
    assert with_table(text) == text, "python -m tests.guards --table"


def test_a_guard_that_is_gone_is_told() -> None:
    with pytest.raises(ValueError, match="has the guard 'it' 0 times"):
        Guard("it", "f", "old", "new", "t", "").taken_out("another text")
