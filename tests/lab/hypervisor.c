/*
 * Copyright (c) 2026, qubes.vmconfig contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Preloaded into the real xenstored, this answers for the hypervisor, so that the daemon runs without Xen and without root.
 *
 * $XENLAB_DIR/machine is the hardware, shared with guests.py, which must agree on this layout:
 *   [0, 32768)       one byte a domain: 0 no such domain, 'r' running, 's' shut down, 'd' dying
 *   [32768, 65536)   one byte a domain: 1 = an event for this guest is pending
 *   65536 + 4096 N   the XenStore ring page of domain N
 * $XENLAB_DIR/hypervisor  datagram socket of xenstored: a native uint32, the event channel port that fired
 * $XENLAB_DIR/guests      datagram socket of guests.py: anything means "look at the pending bytes"
 * A full socket loses no event: it holds a wake-up already, and what happened is in the shared file.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DOMAINS 32752u          /* DOMID_FIRST_RESERVED */
#define PENDING 32768u
#define RINGS 65536u
#define PAGE 4096u
#define VIRQ_DOM_EXC_PORT 1u    /* "look which domains ended" */
#define PORT_OF(domid) ((domid) + 2u)
#define DOMAIN_OF(port) ((port) - 2u)

static int handle;              /* what every *_open() returns: only its address matters */
static int machine_fd = -1, event_fd = -1;
static volatile unsigned char *machine;

static struct sockaddr_un in_lab(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *lab = getenv("XENLAB_DIR");
	int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", lab ? lab : ".", name);

	if (length >= (int)sizeof address.sun_path) {
		fprintf(stderr, "hypervisor: %s is too long for a socket path\n", lab);
		_exit(1);
	}
	return address;
}

__attribute__((constructor)) static void power_on(void)
{
	const char *parent = getenv("XENLAB_PARENT");
	void *page;

	/* The lab's daemon must never outlive the test that started it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (parent && getppid() != atoi(parent))
		_exit(1);
	machine_fd = open(in_lab("machine").sun_path, O_RDWR | O_CLOEXEC);
	page = mmap(NULL, RINGS, PROT_READ | PROT_WRITE, MAP_SHARED, machine_fd, 0);
	if (page == MAP_FAILED) {
		perror("hypervisor: machine");
		_exit(1);
	}
	machine = page;
}

/* ---- event channels ---- */

void *xenevtchn_open(void *logger, unsigned int flags)
{
	struct sockaddr_un address = in_lab("hypervisor");

	unlink(address.sun_path);
	event_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (event_fd < 0 || bind(event_fd, (void *)&address, sizeof address))
		return NULL;
	return &handle;
}

int xenevtchn_fd(void *h) { return event_fd; }
int xenevtchn_bind_virq(void *h, unsigned int virq) { return VIRQ_DOM_EXC_PORT; }
int xenevtchn_unbind(void *h, uint32_t port) { return 0; }
int xenevtchn_unmask(void *h, uint32_t port) { return 0; }
int xenevtchn_close(void *h) { return 0; }

int xenevtchn_bind_interdomain(void *h, uint32_t domid, uint32_t remote_port)
{
	if (domid < DOMAINS)
		return PORT_OF(domid);
	errno = EINVAL;
	return -1;
}

int xenevtchn_notify(void *h, uint32_t port)
{
	struct sockaddr_un address = in_lab("guests");
	uint32_t domid = DOMAIN_OF(port);

	if (!domid || domid >= DOMAINS) /* dom0 has no ring here */
		return 0;
	machine[PENDING + domid] = 1;
	sendto(event_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, (void *)&address, sizeof address);
	return 0;
}

/* Port 0 is nobody's; -1 would end xenstored. */
int xenevtchn_pending(void *h)
{
	uint32_t port;

	return recv(event_fd, &port, sizeof port, MSG_DONTWAIT) == sizeof port ? (int)port : 0;
}

/* ---- the list of domains ---- */

static unsigned char state_of(uint32_t domid)
{
	if (!domid)
		return 'r';
	return domid < DOMAINS ? machine[domid] : 0;
}

void *xc_interface_open(void *logger, void *domain_build_logger, unsigned int flags) { return &handle; }
int xc_interface_close(void *h) { return 0; }

/* Xen up to 4.17: the head of xc_dominfo_t. */
struct dominfo {
	uint32_t domid, ssidref;
	unsigned int dying:1, crashed:1, shutdown:1;
	unsigned int shutdown_reason;
};

int xc_domain_getinfo(void *h, uint32_t domid, unsigned int max, struct dominfo *info)
{
	unsigned char state = state_of(domid);

	if (!state)
		return 0;
	memset(info, 0, sizeof *info);
	info->domid = domid;
	info->dying = state == 'd';
	info->shutdown = state != 'r';
	return 1;
}

/* Xen 4.18 and later: the head of struct xen_domctl_getdomaininfo. */
struct domaininfo {
	uint16_t domain, pad;
	uint32_t flags;
};
#define DOMINF_DYING 1u
#define DOMINF_SHUTDOWN 4u

int xc_domain_getinfo_single(void *h, uint32_t domid, struct domaininfo *info)
{
	unsigned char state = state_of(domid);

	if (!state) {
		errno = ESRCH;
		return -1;
	}
	if (info) {
		memset(info, 0, sizeof *info);
		info->domain = domid;
		info->flags = (state == 'd' ? DOMINF_DYING : 0) | (state != 'r' ? DOMINF_SHUTDOWN : 0);
	}
	return 0;
}

/* ---- the grant table: the ring pages ---- */

void *xengnttab_open(void *logger, unsigned int flags) { return &handle; }
int xengnttab_close(void *h) { return 0; }
int xengnttab_set_max_grants(void *h, uint32_t count) { return 0; }
int xengnttab_unmap(void *h, void *page, uint32_t count) { return munmap(page, PAGE * count); }

void *xengnttab_map_grant_ref(void *h, uint32_t domid, uint32_t ref, int prot)
{
	void *page = mmap(NULL, PAGE, prot, MAP_SHARED, machine_fd, RINGS + (off_t)PAGE * domid);

	return page == MAP_FAILED ? NULL : page;
}

/* ---- files of the kernel: dom0's own ring, which nothing uses here ---- */

static int kernel_file(const char *path)
{
	int is_port = !strcmp(path, "/proc/xen/xsd_port");
	int fd;

	if (!is_port && strcmp(path, "/proc/xen/xsd_kva"))
		return -1;
	fd = memfd_create("xsd", MFD_CLOEXEC);
	if (is_port ? pwrite(fd, "1", 1, 0) != 1 : ftruncate(fd, PAGE))
		_exit(1);
	return fd;
}

#define OPEN(name) \
	int name(const char *path, int flags, ...) \
	{ \
		int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name); \
		int fd = kernel_file(path), mode; \
		va_list more; \
		va_start(more, flags); \
		mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, int) : 0; \
		va_end(more); \
		return fd >= 0 ? fd : real(path, flags, mode); \
	}
OPEN(open)
OPEN(open64)

/* ---- what the daemon complains about belongs to the lab's log ---- */

static void complain(const char *format, va_list values)
{
	vfprintf(stderr, format, values);
	fputc('\n', stderr);
}

void syslog(int priority, const char *format, ...)
{
	va_list values;

	va_start(values, format);
	complain(format, values);
	va_end(values);
}

void __syslog_chk(int priority, int flag, const char *format, ...)
{
	va_list values;

	va_start(values, format);
	complain(format, values);
	va_end(values);
}
