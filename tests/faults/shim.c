/* Fails the n-th call that changes a file whose path begins with $FAULT_PATH, before or after it took effect, once or
 * from then on; or, as long as there is a file $FAULT_WHILE, each call that would make one longer, as a full disk does.
 * Loaded before the C library (LD_PRELOAD); writes to $FAULT_SINCE when the first one failed, by the clock
 * since boot in microseconds, and counts its calls in $FAULT_COUNT at the end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static long calls;
static int told_since;

static void put(const char *variable, long long number) {
  const char *path = getenv(variable);
  FILE *file = path ? fopen(path, "w") : NULL;
  if (!file) return;
  fprintf(file, "%lld\n", number);
  fclose(file);
}

static void failing(void) {
  struct timespec now;
  if (__atomic_exchange_n(&told_since, 1, __ATOMIC_SEQ_CST)) return;
  clock_gettime(CLOCK_BOOTTIME, &now);
  put("FAULT_SINCE", now.tv_sec * 1000000LL + now.tv_nsec / 1000);
}

static int ours(int fd) {
  const char *prefix = getenv("FAULT_PATH");
  char link[64], path[4096];
  if (!prefix) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n <= 0) return 0;
  path[n] = 0;
  return strncmp(path, prefix, strlen(prefix)) == 0 && !strstr(path, ".lock");
}

static int longer(int fd, off_t end) {
  struct stat file;
  return fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && end > file.st_size;
}

static size_t length(const struct iovec *parts, int n) {
  size_t all = 0;
  for (int i = 0; i < n; i++) all += parts[i].iov_len;
  return all;
}

/* Of a call after which the file goes up to END at least: 0: leave it; 1: fail before; 2: fail after. */
static int fault(int fd, off_t end) {
  const char *full = getenv("FAULT_WHILE");
  if (full) return access(full, F_OK) == 0 && ours(fd) && longer(fd, end);
  if (!ours(fd)) return 0;
  long n = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
  const char *at = getenv("FAULT_AT"), *kind = getenv("FAULT_KIND");
  if (!at || !kind) return 0;
  long when = atol(at);
  if (!strcmp(kind, "full") ? n < when : n != when) return 0;
  failing();
  return !strcmp(kind, "after") ? 2 : 1;
}

static int error_of_kind(void) {
  const char *kind = getenv("FAULT_KIND");
  return !kind || !strcmp(kind, "full") ? ENOSPC : EIO;
}

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))
#define WRAP(type, name, parameters, fd, end, arguments) \
  type name parameters { \
    int how = fault(fd, end); \
    if (how == 1) { errno = error_of_kind(); return -1; } \
    type done = REAL(name) arguments; \
    if (how == 2) { errno = error_of_kind(); return -1; } \
    return done; \
  }

WRAP(ssize_t, write, (int fd, const void *b, size_t n), fd, lseek(fd, 0, SEEK_CUR) + (off_t)n, (fd, b, n))
WRAP(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), fd, o + (off_t)n, (fd, b, n, o))
WRAP(ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t o), fd, o + (off_t)n, (fd, b, n, o))
WRAP(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t o), fd, o + (off_t)length(v, n), (fd, v, n, o))
WRAP(ssize_t, pwritev64, (int fd, const struct iovec *v, int n, off64_t o), fd, o + (off_t)length(v, n), (fd, v, n, o))
WRAP(int, fsync, (int fd), fd, 0, (fd))
WRAP(int, fdatasync, (int fd), fd, 0, (fd))
WRAP(int, ftruncate, (int fd, off_t n), fd, n, (fd, n))
WRAP(int, ftruncate64, (int fd, off64_t n), fd, n, (fd, n))

__attribute__((destructor)) static void counted(void) {
  put("FAULT_COUNT", calls);
}
