/* A disk that fails at a chosen call: a library to load before all others (LD_PRELOAD).
 *
 * FAULTY_DISK names a file of four 64-bit numbers that all processes of a run share through a map:
 *   [0] calls so far that could have failed   [1] the call to fail at (1 is the first; 0: none)
 *   [2] the errno                             [3] 1: every later call fails too, as on a full disk
 * FAULTY_DISK_BELOW is the folder whose files are on that disk. Only calls that can fail with the errno are counted:
 * a full disk (ENOSPC, EDQUOT) fails what takes space, a read-only one (EROFS) what changes anything, a broken one (EIO)
 * reads, writes and syncs, and a full table of files (EMFILE) opens.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind { OPEN_READ = 1, OPEN_WRITE = 2, CREATE = 4, WRITE = 8, READ = 16, SYNC = 32, CHANGE = 64, GROW = 128 };

static volatile long long *control;
static char below[PATH_MAX];

static void load(void) __attribute__((constructor));
static void load(void) {
    const char *name = getenv("FAULTY_DISK"), *folder = getenv("FAULTY_DISK_BELOW");
    if (!name || !folder) return;
    int descriptor = (int)syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC, 0);
    if (descriptor < 0) return;
    void *map = mmap(NULL, 32, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    syscall(SYS_close, descriptor);
    if (map == MAP_FAILED) return;
    snprintf(below, sizeof below, "%s", folder);
    control = map;
}

static int kinds_of(long long number) {
    switch (number) {
    case ENOSPC:
    case EDQUOT: return CREATE | WRITE | GROW;
    case EROFS: return OPEN_WRITE | CREATE | CHANGE | GROW;
    case EIO: return WRITE | READ | SYNC;
    case EMFILE: return OPEN_READ | OPEN_WRITE | CREATE;
    default: return 0;
    }
}

/* Whether this call fails; errno is set then. */
static int fails(int kind) {
    if (!control || !(kind & kinds_of(control[2]))) return 0;
    long long at = control[1], call = __sync_add_and_fetch(&control[0], 1);
    if (!at || call < at || (call > at && !control[3])) return 0;
    errno = (int)control[2];
    return 1;
}

static int is_below(const char *path) { return control && path && !strncmp(path, below, strlen(below)); }

static int is_of(int descriptor) {
    char link[64], path[PATH_MAX];
    if (!control) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_below(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int open_kind(int flags) {
    if (flags & O_CREAT) return CREATE;
    return (flags & O_ACCMODE) == O_RDONLY ? OPEN_READ : OPEN_WRITE;
}

#define OPENING(name)                                                                                                  \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;                                      \
        va_end(rest);                                                                                                  \
        if (is_below(path) && fails(open_kind(flags))) return -1;                                                      \
        return REAL(name)(path, flags, mode);                                                                          \
    }
OPENING(open)
OPENING(open64)

#define OPENING_AT(name)                                                                                               \
    int name(int at, const char *path, int flags, ...) {                                                               \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;                                      \
        va_end(rest);                                                                                                  \
        if ((is_below(path) || (path[0] != '/' && is_of(at))) && fails(open_kind(flags))) return -1;                   \
        return REAL(name)(at, path, flags, mode);                                                                      \
    }
OPENING_AT(openat)
OPENING_AT(openat64)

#define WITH_DESCRIPTOR(result, name, kind, parameters, arguments)                                                     \
    result name parameters {                                                                                           \
        if (is_of(descriptor) && fails(kind)) return -1;                                                               \
        return REAL(name) arguments;                                                                                   \
    }
WITH_DESCRIPTOR(ssize_t, write, WRITE, (int descriptor, const void *from, size_t size), (descriptor, from, size))
WITH_DESCRIPTOR(ssize_t, pwrite, WRITE, (int descriptor, const void *from, size_t size, off_t place), (descriptor, from, size, place))
WITH_DESCRIPTOR(ssize_t, pwrite64, WRITE, (int descriptor, const void *from, size_t size, off64_t place), (descriptor, from, size, place))
WITH_DESCRIPTOR(ssize_t, read, READ, (int descriptor, void *to, size_t size), (descriptor, to, size))
WITH_DESCRIPTOR(ssize_t, pread, READ, (int descriptor, void *to, size_t size, off_t place), (descriptor, to, size, place))
WITH_DESCRIPTOR(ssize_t, pread64, READ, (int descriptor, void *to, size_t size, off64_t place), (descriptor, to, size, place))
WITH_DESCRIPTOR(int, fsync, SYNC, (int descriptor), (descriptor))
WITH_DESCRIPTOR(int, fdatasync, SYNC, (int descriptor), (descriptor))
WITH_DESCRIPTOR(int, ftruncate, GROW, (int descriptor, off_t size), (descriptor, size))
WITH_DESCRIPTOR(int, ftruncate64, GROW, (int descriptor, off64_t size), (descriptor, size))

#define WITH_PATH(name, kind, parameters, arguments)                                                                   \
    int name parameters {                                                                                              \
        if (is_below(path) && fails(kind)) return -1;                                                                  \
        return REAL(name) arguments;                                                                                   \
    }
WITH_PATH(mkdir, CREATE, (const char *path, mode_t mode), (path, mode))
WITH_PATH(rename, CHANGE, (const char *path, const char *to), (path, to))
WITH_PATH(unlink, CHANGE, (const char *path), (path))
WITH_PATH(rmdir, CHANGE, (const char *path), (path))
