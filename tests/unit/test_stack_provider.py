"""The cheap import of the provider package: right where it fits, loud where it does not."""

from __future__ import annotations

import sys

import pytest

from stacks.provider import DISTRIBUTION, PACKAGE, RELEASE, enter_without_running
from torchneuron.core.errors import InputError


def test_init_of_the_package_has_not_run():
    package = sys.modules[PACKAGE]
    assert package.__spec__ is not None
    assert not hasattr(package, "__all__")
    assert f"{PACKAGE}._jsii" in sys.modules
    assert f"{PACKAGE}.xray_group" not in sys.modules


def test_package_that_is_imported_already_is_left_alone():
    before = sys.modules["json"]
    enter_without_running("json", distribution="no-such-distribution", release="0")
    assert sys.modules["json"] is before


def test_another_release_is_refused_by_name():
    with pytest.raises(InputError, match=rf"{RELEASE} is installed.*supports 99\.0\.0") as refused:
        enter_without_running("not_imported_yet", distribution=DISTRIBUTION, release="99.0.0")
    assert refused.value.exit_status == 2
    assert "pipenv sync" in refused.value.do


def test_missing_distribution_says_how_to_install_it():
    with pytest.raises(InputError, match="not-there is not installed") as refused:
        enter_without_running("not_imported_yet", distribution="not-there", release="1")
    assert "pipenv sync" in refused.value.do


def test_changed_layout_is_refused():
    with pytest.raises(InputError, match="does not have the layout"):
        enter_without_running("no_such_package", distribution=DISTRIBUTION, release=RELEASE)
    assert "no_such_package" not in sys.modules


def test_a_plain_module_is_no_package():
    with pytest.raises(InputError, match="does not have the layout"):
        enter_without_running("this", distribution=DISTRIBUTION, release=RELEASE)
    assert "this" not in sys.modules
