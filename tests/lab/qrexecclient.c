/* Copyright (c) 2026, qubes.vmconfig contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `qrexec-client-vm` of an Admin API lab, and under their names `qrexec-client` and `qvm-run`: hands its arguments and standard input to
 * the lab, and does with its output and its end what the lab says. $ADMINLAB_SOCKET, else qrexec.sock beside this program, is where the
 * lab listens. The options of the first are understood here, for its local program is started here; those of the others by the lab.
 *
 * A message, either way, is a byte for its kind, a number of four bytes in the machine's order, and for some kinds as many bytes:
 * to the lab A, arguments, each with its NUL, after the program's name and the index of the target; I, input, none of it at its end;
 * from the lab O, output; E, standard error; X, end with this status.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 65536
#define PROBLEM 1 /* the status for what is the agent's fault, not the service's */

static int lab = -1;
static int input = 0, output = 1;
static pid_t program;

static void give_up(const char *what)
{
    perror(what);
    exit(PROBLEM);
}

static void put(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t done = write(fd, data, size);
        if (done < 0 && errno != EINTR)
            give_up("write");
        if (done > 0) {
            data += done;
            size -= done;
        }
    }
}

static void get(char *data, size_t size)
{
    while (size) {
        ssize_t done = read(lab, data, size);
        if (done == 0) {
            fputs("the connection was lost\n", stderr);
            exit(PROBLEM);
        }
        if (done < 0 && errno != EINTR)
            give_up("read");
        if (done > 0) {
            data += done;
            size -= done;
        }
    }
}

static void tell(char kind, const char *data, uint32_t size)
{
    char head[5];

    head[0] = kind;
    memcpy(head + 1, &size, sizeof(size));
    put(lab, head, sizeof(head));
    put(lab, data, size);
}

static void connect_to_lab(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const char *path = getenv("ADMINLAB_SOCKET");
    char beside[sizeof(address.sun_path)] = "";

    if (!path || !*path) {
        ssize_t size = readlink("/proc/self/exe", beside, sizeof(beside) - sizeof("qrexec.sock"));
        char *slash = size > 0 ? memrchr(beside, '/', size) : NULL;
        if (slash)
            strcpy(slash + 1, "qrexec.sock");
        path = beside;
    }
    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    lab = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (lab < 0 || connect(lab, (struct sockaddr *)&address, sizeof(address)) < 0)
        give_up("connect");
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static void say_arguments(int argc, char **argv, int target)
{
    char *data = NULL;
    size_t size;
    FILE *stream = open_memstream(&data, &size);

    fprintf(stream, "%s%c%d%c", name_of(argv[0]), 0, target - 1, 0);
    for (int i = 1; i < argc; i++)
        fwrite(argv[i], strlen(argv[i]) + 1, 1, stream);
    fclose(stream);
    tell('A', data, size);
    free(data);
}

/* The service's output is the program's input, and the other way round. */
static void start_program(char **argv)
{
    int in[2], out[2];
    char *path = argv[0];

    if (pipe(in) || pipe(out))
        give_up("pipe");
    program = fork();
    if (program < 0)
        give_up("fork");
    if (!program) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        for (int i = 0; i < 2; i++) {
            close(in[i]);
            close(out[i]);
        }
        argv[0] = (char *)name_of(path);
        execv(path, argv);
        perror(path);
        _exit(255);
    }
    close(in[0]);
    close(out[1]);
    input = out[0];
    output = in[1];
}

static void leave(int status)
{
    if (program) {
        int end;
        close(output);
        if (waitpid(program, &end, 0) == program)
            status = WIFSIGNALED(end) ? 128 + WTERMSIG(end) : WEXITSTATUS(end);
    }
    exit(status);
}

static void from_lab(void)
{
    static char data[SIZE];
    char head[5];
    uint32_t number;

    get(head, sizeof(head));
    memcpy(&number, head + 1, sizeof(number));
    switch (head[0]) {
    case 'O':
    case 'E':
        while (number) {
            size_t size = number < SIZE ? number : SIZE;
            get(data, size);
            put(head[0] == 'O' ? output : 2, data, size);
            number -= size;
        }
        break;
    case 'X':
        leave(number);
        break;
    }
}

static void from_input(void)
{
    static char data[SIZE];
    ssize_t size = read(input, data, sizeof(data));

    if (size < 0 && errno == EINTR)
        return;
    if (size < 0)
        size = 0; /* a standard input that is closed, or not for reading, has nothing */
    tell('I', data, size);
    if (!size)
        input = -1;
}

static int options(int argc, char **argv)
{
    static const struct option known[] = {
        { "buffer-size", required_argument, 0, 'b' },
        { "filter-escape-chars-stdout", no_argument, 0, 't' },
        { "filter-escape-chars-stderr", no_argument, 0, 'T' },
        { "no-filter-escape-chars-stdout", no_argument, 0, 'n' },
        { "no-filter-escape-chars-stderr", no_argument, 0, 'N' },
        { "agent-socket", required_argument, 0, 'a' },
        { 0 },
    };
    int found;

    do
        found = getopt_long(argc, argv, "+tTa:", known, NULL);
    while (found != -1 && found != '?');
    if (found == '?' || argc - optind < 2) {
        fprintf(stderr, "usage: %s [options] TARGET SERVICE[+ARGUMENT] [PROGRAM [ARGUMENTS]]\n", argv[0]);
        exit(2);
    }
    return optind;
}

int main(int argc, char **argv)
{
    int local = !strcmp(name_of(argv[0]), "qrexec-client-vm");
    int target = local ? options(argc, argv) : 1;

    connect_to_lab();
    say_arguments(argc, argv, target);
    if (local && argc > target + 2)
        start_program(argv + target + 2);
    for (;;) {
        struct pollfd ready[] = { { .fd = lab, .events = POLLIN }, { .fd = input, .events = POLLIN } };
        if (poll(ready, 2, -1) < 0 && errno != EINTR)
            give_up("poll");
        if (ready[0].revents)
            from_lab();
        else if (ready[1].revents)
            from_input();
    }
}
