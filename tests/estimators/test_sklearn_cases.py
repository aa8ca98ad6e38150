"""scikit-learn's own tests of its KMeans, run on ours: what fails has a reason, what has a reason fails."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import sklearn.cluster
from estimators.sklearn_cases import FAILING

THEIRS = Path(sklearn.cluster.__file__).parent / "tests" / "test_k_means.py"
IMPORT = "from sklearn.cluster import KMeans, "
OURS = "from dkmeans import KMeans\nfrom sklearn.cluster import "


def run_their_tests(folder):
    """Names of the cases that pass, and of those that fail."""
    text = THEIRS.read_text(encoding="utf-8")
    assert text.count(IMPORT) == 1
    (folder / THEIRS.name).write_text(text.replace(IMPORT, OURS), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")  # none of our options
    command = [sys.executable, "-m", "pytest", "-q", "-p", "sklearn.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--junitxml=found.xml", THEIRS.name], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stdout + done.stderr  # some fail, and nothing else is wrong
    cases = ElementTree.parse(folder / "found.xml").iter("testcase")
    outcomes = {case.get("name"): {child.tag for child in case} for case in cases}
    failed = {name for name, found in outcomes.items() if found & {"failure", "error"}}
    return {name for name in outcomes if "skipped" not in outcomes[name]} - failed, failed


@pytest.mark.slow
def test_their_cases_fail_for_reasons_that_are_written_down(tmp_path):
    passed, failed = run_their_tests(tmp_path)
    patterns = [pattern for of_reason in FAILING.values() for pattern in of_reason]
    reasons = {name: [each for each in patterns if re.fullmatch(each, name)] for name in passed | failed}
    assert {name for name in failed if not reasons[name]} == set(), "fail, and no reason is known"
    assert {name for name in passed if reasons[name]} == set(), "pass: take them off the list"
    unused = set(patterns) - {each for name in failed for each in reasons[name]}
    assert unused == set(), "match no case any more"
    assert len(passed) >= 250
