// Calls of this program to the disk, SQLite's among them: counted, and failed where a test wants it (disk_faults.cpp).
#pragma once

#include <atomic>

namespace wan::serve {

struct DiskFaults {
  std::atomic<int> syncs{0};      // calls of fsync and fdatasync
  std::atomic<int> of_syncs{0};   // the error of fdatasync; 0: none
  std::atomic<int> of_copies{0};  // that of copy_file_range
};
DiskFaults& disk_faults();

/// An error until the end of the scope.
class DiskFault {
 public:
  DiskFault(std::atomic<int>& place, int error) : place_(place) { place_ = error; }
  ~DiskFault() { place_ = 0; }
  DiskFault(const DiskFault&) = delete;
  DiskFault& operator=(const DiskFault&) = delete;

 private:
  std::atomic<int>& place_;
};

}  // namespace wan::serve
