#include <ATen/ATen.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "tools/mlperf/frames.h"
#include "tools/mlperf/settings.h"

namespace wan::mlperf {
namespace {

namespace fs = std::filesystem;

/// Binary PPM, the simplest picture that everything reads: FOLDER/0000.ppm.
class PictureFolder : public FrameFile {
 public:
  explicit PictureFolder(fs::path folder) : folder_(std::move(folder)) { fs::create_directories(folder_); }

  void write(const Tensor& rgb) override {
    const Tensor frames = rgb.contiguous();
    const int64_t height = frames.size(1), width = frames.size(2), bytes = 3 * height * width;
    const auto* data = reinterpret_cast<const char*>(frames.const_data_ptr<uint8_t>());
    for (int64_t i = 0; i < frames.size(0); ++i) {
      char name[32];
      std::snprintf(name, sizeof name, "%04lld.ppm", static_cast<long long>(written_++));
      std::ofstream out(folder_ / name, std::ios::binary);
      out << "P6\n" << width << " " << height << "\n255\n";
      out.write(data + i * bytes, bytes);
      out.close();
      if (!out) throw std::runtime_error("[" + std::string(name) + "] cannot be written; is the disk full?");
    }
  }
  void finish() override {}

 private:
  const fs::path folder_;
  int64_t written_ = 0;
};

}  // namespace

FrameFiles picture_files(const std::string& folder) {
  return {"pictures to disk", [folder](const std::string& prompt, int64_t, int64_t) -> std::unique_ptr<FrameFile> {
            return std::make_unique<PictureFolder>(fs::path(folder) / vbench_name(prompt));
          }};
}

}  // namespace wan::mlperf
