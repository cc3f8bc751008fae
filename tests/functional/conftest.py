# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real xenstored for every test that asks for it, and each store for the contract."""

from __future__ import annotations

import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lab"))

import adminlab  # noqa: E402  # pylint: disable=wrong-import-position
import packages  # noqa: E402  # pylint: disable=wrong-import-position
import qubesdblab  # noqa: E402  # pylint: disable=wrong-import-position
import xenlab  # noqa: E402  # pylint: disable=wrong-import-position
from harness import DOMIDS, SEED, STORES, TREES  # noqa: E402  # pylint: disable=wrong-import-position


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes long; `make test-all` alone runs it, and a short form of it is in `make test`")


@pytest.fixture(name="xen", scope="session")
def have_xen():
    """The daemon's programs. Debian has them, so there a lack of them is a failure; elsewhere it is said at the end of the run."""
    try:
        packages.have_xen()
        packages.built("hypervisor.c")
    except packages.LabUnavailable as error:
        if packages.is_debian_like():
            raise
        pytest.skip("NO XENSTORED, so nothing of it was tested: %s" % error)


def running_lab():
    """A xenstored with the qubes of SEED, as Xen's toolstack leaves them."""
    lab = xenlab.XenLab()
    lab.start()
    for qube, domid in DOMIDS.items():
        lab.add_domain(domid, qube, {"domid": str(domid), "qubes-vm-type": "AppVM", **SEED[qube]})
    return lab


@pytest.fixture(name="lab")
def fresh_lab(xen):
    lab = running_lab()
    yield lab
    lab.stop()


@pytest.fixture(name="qubes")
def fresh_qubes():
    """QubesDB daemons of the qubes of SEED. Whatever a test does to them, nothing may be sent that stalls or ends one."""
    with qubesdblab.QubesdbLab() as lab:
        lab.add_many(SEED)
        yield lab
        assert {qube: lab.violations(qube) for qube in lab.qubes()} == {qube: [] for qube in lab.qubes()}


@pytest.fixture(name="place", params=STORES)
def place_of_each_store(request, tmp_path):
    return STORES[request.param](request.getfixturevalue, tmp_path)


@pytest.fixture(name="tree", params=TREES)
def place_of_each_tree(request, tmp_path):
    return TREES[request.param](request.getfixturevalue, tmp_path)


@pytest.fixture(name="admin")
def fresh_admin(monkeypatch):
    """An Admin API without qubes, and its client on PATH."""
    with adminlab.AdminLab() as lab:
        for name, value in lab.environment().items():
            monkeypatch.setenv(name, value)
        yield lab
