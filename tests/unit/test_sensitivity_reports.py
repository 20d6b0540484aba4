"""What people see of a sensitivity table."""

import io
import re
from dataclasses import replace

import numpy as np

from autoprune.evaluation.probing.sensitivity import Entry, Sensitivity
from autoprune.reporting.sensitivity_plot import render_sensitivity
from autoprune.reporting.sensitivity_terminal import by_sensitivity, print_sensitivity
from autoprune.reporting.tables import PlainConsole

ENTRY = Entry(
    unit="layer[1]</script>",
    kind="channel",
    atoms=8,
    method="channel.l1",
    level=1,
    sparsity=0.5,
    loss=1.25,
    quality=0.75,
    given_up=0.25,
    stderr=0.0125,
)
FAILED = replace(
    ENTRY, unit="a", loss=None, quality=None, given_up=None, reason="ValueError: [too] thin."
)
CURVES = {ENTRY.unit: [0.0, 0.25], "a": [0.0, 1.0]}
ERRORS = {unit: {"channel.l1": np.array(own)} for unit, own in CURVES.items()}
TABLE = Sensitivity(
    1.0,
    ERRORS,
    ERRORS,
    sample_forwards=1234.5,
    seconds=2.0,
    dense_quality=0.8,
    metric="top-1",
    samples=64,
    entries=(ENTRY, FAILED),
    probed=2,
    sparsities={ENTRY.unit: (0.0, 0.5), "a": (0.0, 0.5)},
)


def printed(table: Sensitivity) -> str:
    stream = io.StringIO()
    print_sensitivity(table, PlainConsole(stream, 200))
    return stream.getvalue()


def test_the_most_sensitive_unit_comes_last_with_all_figures() -> None:
    assert by_sensitivity(TABLE) == [ENTRY.unit, "a"]
    text = printed(TABLE)
    row = r"layer\[1\]</script> +channel +8 +channel.l1 +50.0% +\+0.2500 +± 0.0125 +-5.00 points"
    assert re.search(row, text)
    assert "failed: ValueError: [too] thin." in text
    assert text.index("layer[1]") < text.index("failed:")
    assert "2 probes on 64 samples, 0 of them known from before: 1.23 k sample forwards" in text


def test_a_metric_that_is_no_share_moves_in_its_own_unit() -> None:
    """An error that rises moves above 0."""
    error = replace(TABLE, dense_quality=-0.8, higher_is_better=False, is_share=False)
    risen = replace(ENTRY, quality=-1.2)
    text = printed(replace(error, entries=(risen, FAILED)))
    assert re.search(r"± 0.0125 +\+0.4 ", text)
    assert "top-1 0.8. 2 probes" in text
    assert "top-1 1.2, dense 0.8" in render_sensitivity(replace(error, entries=(risen, FAILED)))


def test_a_table_that_cost_nothing_says_so() -> None:
    text = printed(replace(TABLE, sample_forwards=0.0, seconds=0.0, probed=0))
    assert "all known from before: nothing was measured." in text


def test_the_plot_is_one_file_with_every_line_and_no_markup_of_its_own() -> None:
    page = render_sensitivity(TABLE)
    assert not re.search(r"<script[^>]+src=", page)
    assert "layer[1]</script>" not in page
    assert page.count("layer[1]&lt;\\u002fscript&gt;, channel.l1") == 3, "line, points, hover"
    assert page.count('"mode":"lines"') == 2
    assert page.count('"mode":"markers"') == 2
