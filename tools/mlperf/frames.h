// Where the benchmark's frames go: files for VBench, or nowhere.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "tools/mlperf/maker.h"

namespace wan::mlperf {

/// The frames of one video. It may be used by another thread than the one that made it, one at a time.
class FrameFile {
 public:
  virtual ~FrameFile() = default;
  /// uint8 [t, H, W, 3] RGB on the CPU.
  virtual void write(const Tensor& rgb) = 0;
  virtual void finish() = 0;
};

struct FrameFiles {
  std::string stage;  // what their writing is called in the report: "encode"
  /// A file for a prompt's video of this size; empty: frames go nowhere.
  std::function<std::unique_ptr<FrameFile>(const std::string& prompt, int64_t height, int64_t width)> open;
};

/// A folder NAME of numbered pictures for each video, NAME as vbench_name: for builds without an encoder. Made in
/// `folder`, which must be there. Throws std::runtime_error where the disk refuses.
FrameFiles picture_files(const std::string& folder);

/// NAME.mp4, 16 frames a second, as wan-infer encodes it. An empty `folder`: the files are made in the folder for
/// temporary ones and removed when they are finished, so that the encoder's time is measured. Not in builds of the core
/// alone.
FrameFiles mp4_files(const std::string& folder);

}  // namespace wan::mlperf
