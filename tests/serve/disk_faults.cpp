#include "tests/serve/disk_faults.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace wan::serve {

DiskFaults& disk_faults() {
  static DiskFaults faults;
  return faults;
}

}  // namespace wan::serve

using wan::serve::disk_faults;

extern "C" int fsync(int file) {
  ++disk_faults().syncs;
  return int(syscall(SYS_fsync, file));
}

extern "C" int fdatasync(int file) {
  ++disk_faults().syncs;
  if (const int error = disk_faults().of_syncs) {
    errno = error;
    return -1;
  }
  return int(syscall(SYS_fdatasync, file));
}

extern "C" ssize_t copy_file_range(int from, off64_t* from_at, int to, off64_t* to_at, size_t size, unsigned flags) {
  if (const int error = disk_faults().of_copies) {
    errno = error;
    return -1;
  }
  return syscall(SYS_copy_file_range, from, from_at, to, to_at, size, flags);
}
