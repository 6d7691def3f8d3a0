/*
 * A disk that lacks something, for tests: preloaded into a process, it makes single calls on files below a folder fail.
 * ODD_DISK is the folder; ODD_CALLS lists calls and error numbers, such as "link=18,syncfolder=22".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int wanted(const char *call) {
  const char *list = getenv("ODD_CALLS");
  size_t length = strlen(call);
  while (list != NULL && *list != '\0') {
    if (strncmp(list, call, length) == 0 && list[length] == '=') return atoi(list + length + 1);
    list = strchr(list, ',');
    if (list != NULL) list++;
  }
  return 0;
}

static int below(const char *path) {
  const char *folder = getenv("ODD_DISK");
  char parent[PATH_MAX], real[PATH_MAX];
  if (folder == NULL || strlen(path) >= sizeof parent) return 0;
  if (realpath(path, real) == NULL) {
    strcpy(parent, path);
    char *slash = strrchr(parent, '/');
    if (slash == NULL) return 0;
    *slash = '\0';
    if (realpath(parent, real) == NULL) return 0;
  }
  return strncmp(real, folder, strlen(folder)) == 0;
}

static int open_below(int file) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = '\0';
  return below(path);
}

#define FAIL_IF(call, condition)                        \
  do {                                                  \
    int number = wanted(call);                          \
    if (number != 0 && (condition)) {                   \
      errno = number;                                   \
      return -1;                                        \
    }                                                   \
  } while (0)

#define REAL(name, type, ...)                           \
  static type real;                                     \
  if (real == NULL) real = (type)dlsym(RTLD_NEXT, name); \
  return real(__VA_ARGS__)

typedef int (*file_call)(int);
typedef int (*link_call)(const char *, const char *);
typedef int (*mode_call)(const char *, mode_t);
typedef int (*fmode_call)(int, mode_t);
typedef int (*owner_call)(const char *, uid_t, gid_t);
typedef int (*fowner_call)(int, uid_t, gid_t);
typedef int (*times_call)(int, const char *, const struct timespec[2], int);
typedef int (*ftimes_call)(int, const struct timespec[2]);

int fsync(int file) {
  struct stat found;
  int folder = fstat(file, &found) == 0 && S_ISDIR(found.st_mode);
  FAIL_IF(folder ? "syncfolder" : "sync", open_below(file));
  REAL("fsync", file_call, file);
}

int link(const char *from, const char *to) {
  FAIL_IF("link", below(to));
  REAL("link", link_call, from, to);
}

int chmod(const char *path, mode_t mode) {
  FAIL_IF("chmod", below(path));
  REAL("chmod", mode_call, path, mode);
}

int fchmod(int file, mode_t mode) {
  FAIL_IF("chmod", open_below(file));
  REAL("fchmod", fmode_call, file, mode);
}

int chown(const char *path, uid_t user, gid_t group) {
  FAIL_IF("chown", below(path));
  REAL("chown", owner_call, path, user, group);
}

int lchown(const char *path, uid_t user, gid_t group) {
  FAIL_IF("chown", below(path));
  REAL("lchown", owner_call, path, user, group);
}

int fchown(int file, uid_t user, gid_t group) {
  FAIL_IF("chown", open_below(file));
  REAL("fchown", fowner_call, file, user, group);
}

int utimensat(int folder, const char *path, const struct timespec times[2], int flags) {
  FAIL_IF("utime", path != NULL && below(path));
  REAL("utimensat", times_call, folder, path, times, flags);
}

int futimens(int file, const struct timespec times[2]) {
  FAIL_IF("utime", open_below(file));
  REAL("futimens", ftimes_call, file, times);
}
