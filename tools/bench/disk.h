// `wan-bench disk`: how fast weights come from a disk, beside dd.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

namespace wan::bench {

struct DiskOptions {
  std::string file;         // what is read
  uint64_t size = 0;        // bytes of a file that is written instead where none is named, and removed afterwards
  std::string folder = "";  // of that file; the folder for temporary files where it is empty
  int runs = 5;             // pairs
  int readers = 4, buffers = 6, buffer_megabytes = 16;  // of the ring (models/files/read_ring.h)
};

/// One JSON line for each row: name (`dd`: the faster of two runs, `load`: tensors as they lie, `load_as_bf16`: float32 to bfloat16), state (cold,
/// warm), seconds (median), p10, p90, gb_per_s, of loads also `direct`: part of the bytes that came past the page cache, and
/// `ratio`: speed over that of the dd run beside it, the median of the pairs, with `ratios` of all. Throws
/// std::invalid_argument for a file that is absent or smaller than 1 MB, std::runtime_error where the disk refuses.
void disk(const DiskOptions& options, std::ostream& out);

}  // namespace wan::bench
