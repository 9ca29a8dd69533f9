#include <unistd.h>

#include <filesystem>

#include "engine/media/writer.h"
#include "tools/mlperf/frames.h"
#include "tools/mlperf/settings.h"

namespace wan::mlperf {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kFramesPerSecond = 16;  // the benchmark's

class Mp4 : public FrameFile {
 public:
  Mp4(const fs::path& path, bool kept, int64_t height, int64_t width)
      : path_(path), kept_(kept), writer_(path.string(), format_of(height, width)) {}
  ~Mp4() override {
    std::error_code ignored;
    if (!kept_) fs::remove(path_, ignored);
  }
  void write(const Tensor& rgb) override { writer_.write(rgb); }
  void finish() override { writer_.finish(); }

 private:
  static VideoFormat format_of(int64_t height, int64_t width) {
    VideoFormat format;
    format.height = height;
    format.width = width;
    format.rate = {kFramesPerSecond, 1};
    return format;
  }

  const fs::path path_;
  const bool kept_;
  VideoWriter writer_;
};

}  // namespace

FrameFiles mp4_files(const std::string& folder) {
  const fs::path kept_in = folder.empty() ? fs::temp_directory_path() : fs::path(folder);
  const std::string own = "wan-bench-" + std::to_string(getpid()) + "-";  // one may be written while the next is begun
  return {
      "encode",
      [=, opened = 0](const std::string& prompt, int64_t height, int64_t width) mutable -> std::unique_ptr<FrameFile> {
        const std::string name = folder.empty() ? own + std::to_string(opened++) : vbench_name(prompt);
        return std::make_unique<Mp4>(kept_in / (name + ".mp4"), !folder.empty(), height, width);
      }};
}

}  // namespace wan::mlperf
