/*
 * Copyright (c) 2026, qubes.vmconfig contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the benchmark compares with: the loop over libxenstore that a C program would write, one connection, one key at a
 * time. usage: read_keys LIBXENSTORE < PATHS; prints the keys read and the seconds of the loop.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
	void *(*xs_open)(unsigned long) = library ? (void *(*)(unsigned long))dlsym(library, "xs_open") : NULL;
	void *(*xs_read)(void *, unsigned, const char *, unsigned *) =
		library ? (void *(*)(void *, unsigned, const char *, unsigned *))dlsym(library, "xs_read") : NULL;
	size_t count = 0, room = 0, found = 0, i;
	char **paths = NULL, *line = NULL;
	size_t size = 0;
	ssize_t length;
	double begin;
	void *store;

	if (!xs_open || !xs_read) {
		fprintf(stderr, "read_keys: %s\n", argc == 2 ? dlerror() : "usage: read_keys LIBXENSTORE < PATHS");
		return 2;
	}
	while ((length = getline(&line, &size, stdin)) > 0) {
		line[strcspn(line, "\n")] = 0;
		if (count == room && !(paths = realloc(paths, (room = 2 * room + 1024) * sizeof *paths)))
			return 2;
		paths[count++] = strdup(line);
	}
	if (!(store = xs_open(0))) {
		perror("read_keys: xs_open");
		return 2;
	}
	begin = now();
	for (i = 0; i < count; i++) {
		unsigned bytes;
		void *value = xs_read(store, 0, paths[i], &bytes);

		found += value != NULL;
		free(value);
	}
	printf("%zu %.6f\n", found, now() - begin);
	return 0;
}
