"""Text without HTML."""

import pytest

from fashret.data.feeds.markup import lines_of


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ("", []),
        ("plain  text\n\nof two lines", ["plain text", "of two lines"]),
        ("<p>Red &amp; blue caf&eacute;</p>", ["Red & blue café"]),
        ("A<br>B<br/>C", ["A", "B", "C"]),
        ("<ul><li>Material: cotton</li><li>Neck: V-neck</li></ul>",
         ["Material: cotton", "Neck: V-neck"]),
        ("very <b>soft</b> <i>tee</i>", ["very soft tee"]),
        ("<style>p {color: red}</style><p>tee</p><script>alert('x')</script>", ["tee"]),
        ("<!-- red -->tee", ["tee"]),
        ("&lt;p&gt;twice &amp;amp; escaped&lt;/p&gt;", ["<p>twice & escaped</p>"]),
        ("5 < 6 and 7 > 3", ["5 < 6 and 7 > 3"]),
        ("R&D & more", ["R&D & more"]),
        ("<p>not closed", ["not closed"]),
        ("</script>tee", ["tee"]),
        ("<![SALE]> <b>tee</b>", ["tee"]),
    ],
)  # fmt: skip
def test_lines_without_markup(written: str, lines: list[str]) -> None:
    assert lines_of(written) == lines
