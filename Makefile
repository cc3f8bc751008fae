# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Every target sets up what it needs. .cache holds virtual environments and downloads, build everything that is made.

RUN = @sh tests/tools/python.sh tests/tools/run.py

.PHONY: help demo test test-all bench sanity unit functional roles long waiting integration lint importer fresh fresh-short build clean

help:
	@echo 'make demo [STORE=file|xenstore|qubesdb]'
	@echo '                                 see it work, on a file, on a real xenstored or on a peer of QubesDB'
	@echo 'make test                        sanity, unit, functional and integration tests, lint'
	@echo 'make test-all                    the same and what takes long, then the oldest and the newest ansible-core, every Python, galaxy-importer'
	@echo 'make sanity | unit | functional | roles | long | waiting | integration | lint | importer'
	@echo '                                 one of these; ARGS="..." goes to the test tool'
	@echo 'make fresh [RELEASE=trixie]      all that a newcomer does, on a minimal Debian 12 (or 13) on which nobody installed anything; needs root'
	@echo 'make bench                       what it costs, side by side with what it replaces'
	@echo 'make build                       the collection, as a file that ansible-galaxy installs'
	@echo 'make clean                       remove what was built; .cache stays'
	@echo
	@echo 'PYTHON=/path/to/python and CORE=2.19 choose the interpreter and the ansible-core.'
	@echo 'NO_INSTALL=1 installs no system package, also as root. JOBS=1 runs one group at a time, instead of three.'

demo:
	$(RUN) demo --store $(or $(STORE),file)

test test-all sanity unit functional roles long waiting integration lint importer fresh fresh-short bench build:
	$(RUN) $@ $(ARGS)

clean:
	rm -rf build tests/output
