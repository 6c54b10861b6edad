"""The cheap import of the provider package: right where it fits, loud where it does not."""

from __future__ import annotations

import importlib
import sys

import pytest

from torchneuron.core.errors import InputError


@pytest.fixture(scope="module")
def provider():
    """The module, imported when it is tested: it starts Node."""
    return importlib.import_module("stacks.provider")


def test_init_of_the_package_has_not_run(provider):
    package = sys.modules[provider.PACKAGE]
    assert package.__spec__ is not None
    assert not hasattr(package, "__all__")
    assert f"{provider.PACKAGE}._jsii" in sys.modules
    assert f"{provider.PACKAGE}.xray_group" not in sys.modules


def test_package_that_is_imported_already_is_left_alone(provider):
    before = sys.modules["json"]
    provider.enter_without_running("json", distribution="no-such-distribution", release="0")
    assert sys.modules["json"] is before


def test_another_release_is_refused_by_name(provider):
    with pytest.raises(InputError, match=rf"{provider.RELEASE} is installed.*supports 99\.0\.0") as refused:
        provider.enter_without_running("not_imported_yet", distribution=provider.DISTRIBUTION, release="99.0.0")
    assert refused.value.exit_status == 2
    assert "pipenv sync" in refused.value.do


def test_missing_distribution_says_how_to_install_it(provider):
    with pytest.raises(InputError, match="not-there is not installed") as refused:
        provider.enter_without_running("not_imported_yet", distribution="not-there", release="1")
    assert "pipenv sync" in refused.value.do


def test_changed_layout_is_refused(provider):
    with pytest.raises(InputError, match="does not have the layout"):
        provider.enter_without_running("no_such_package", distribution=provider.DISTRIBUTION, release=provider.RELEASE)
    assert "no_such_package" not in sys.modules


def test_a_plain_module_is_no_package(provider):
    with pytest.raises(InputError, match="does not have the layout"):
        provider.enter_without_running("this", distribution=provider.DISTRIBUTION, release=provider.RELEASE)
    assert "this" not in sys.modules
